import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The content policy lets nothing stand in the page's own text: no inline scripts, styles or data.
export default defineConfig({
  plugins: [react()],
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
});
