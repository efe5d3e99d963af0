import { MutationCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { Refused } from "./api/client";
import { dress } from "./theme";
import { Spoken } from "./words";
import "./style/base.css";
import "./style/frame.css";
import "./style/pages.css";

/** Whatever is refused for want of a session leads back to signing in. */
const onError = (error: unknown) => {
  if (error instanceof Refused && error.problem.type === "urn:geofilter:session")
    client.invalidateQueries({ queryKey: ["session"] });
};

const client = new QueryClient({
  mutationCache: new MutationCache({ onError }),
  defaultOptions: {
    queries: {
      retry: (count, error) => !(error instanceof Refused) && count < 2,
      refetchOnWindowFocus: false,
    },
  },
});

dress();
const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <Spoken>
          <App />
        </Spoken>
      </QueryClientProvider>
    </StrictMode>,
  );
