// A person at the page, in a real Chromium: does what it is told on its standard input, a line each, and says `done` or what
// went wrong. The tests of the portal (`crates/lab/tests/portal_page.rs`) tell it what to do, and look at the kernel meanwhile.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE = 10_000;
/** Of what is there hundreds of times some stand for all. */
const ALIKE = [[".countries li:nth-child(n+9)"], [".map path:nth-child(n+9)"]];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
const context = await browser.newContext({
  viewport: { width: 1280, height: 860 },
  locale: "en-GB",
  ignoreHTTPSErrors: true,
});
context.setDefaultTimeout(PATIENCE);
const page = await context.newPage();

// What the page itself got wrong. That a request is refused, or cut off by a portal that ends, is not that.
const faults = [];
page.on("pageerror", (error) => faults.push(error.message));
page.on("console", (message) => {
  if (message.type() === "error" && !message.text().startsWith("Failed to load resource"))
    faults.push(message.text());
});

const button = (name) => page.getByRole("button", { name, exact: true });
const sees = (text) => page.getByText(text).filter({ visible: true }).first().waitFor();

const deeds = {
  async open(url) {
    await page.goto(url);
  },
  async reload() {
    await page.reload();
  },
  /** The pages of the rail, by their words. */
  async go(name) {
    await page.getByRole("link", { name, exact: true }).click();
  },
  async fill(label, text) {
    await page.getByLabel(label, { exact: true }).fill(text);
  },
  async click(name) {
    await button(name).first().click();
  },
  /** Clicks in no time, and says when, in milliseconds since 1970. */
  async press(name) {
    return button(name)
      .first()
      .evaluate((element) => {
        const now = Date.now();
        element.click();
        return now;
      });
  },
  async tick(label) {
    await page.getByLabel(label).first().check();
  },
  async unfold(name) {
    await page.locator("summary").filter({ hasText: name }).click();
  },
  /** A country on the map. */
  async point(code) {
    await page.locator(`path[data-code=${code}]`).click();
  },
  async choose(label, option) {
    await page.getByLabel(label).first().selectOption(option);
  },
  async upload(label, path) {
    await page.getByLabel(label, { exact: true }).and(page.locator("input")).setInputFiles(path);
  },
  /** A chart, on which something was drawn in the colour of drops. */
  async drawn() {
    const canvas = page.locator(".chart canvas");
    // A step takes ten seconds, and is drawn once it is over.
    await canvas.waitFor({ timeout: 3 * PATIENCE });
    const red = () =>
      canvas.evaluate((of) => {
        const { data } = of.getContext("2d").getImageData(0, 0, of.width, of.height);
        let found = 0;
        for (let at = 0; at < data.length; at += 4)
          if (data[at] === 168 && data[at + 1] === 38 && data[at + 2] === 29) found += 1;
        return found;
      });
    for (const since = Date.now(); (await red()) < 5; ) {
      if (Date.now() - since > 3 * PATIENCE) throw new Error("nothing was drawn");
      await page.waitForTimeout(200);
    }
  },
  async sees(text) {
    await sees(text);
  },
  /** The first address, secret or token that a click copies. */
  async address() {
    return page.locator("button.address").first().textContent();
  },
  async misses(text) {
    if ((await page.getByText(text).filter({ visible: true }).count()) > 0)
      throw new Error(`there is ${text}`);
  },
  async lacks(name) {
    if ((await button(name).count()) > 0) throw new Error(`there is a button ${name}`);
  },
  /** The button goes. */
  async loses(name) {
    await button(name).first().waitFor({ state: "detached" });
  },
  /** What the clock of this browser shows from now on, in milliseconds since 1970. */
  async dated(time) {
    await page.clock.setFixedTime(Number(time));
  },
  /** Is whoever has this session. */
  async enter(url, cookie) {
    const at = cookie.indexOf("=");
    await context.clearCookies();
    // It is one that browsers take of a trustworthy place alone, as this machine is.
    const of = { secure: true, url: url.replace("http:", "https:") };
    await context.addCookies([{ ...of, name: cookie.slice(0, at), value: cookie.slice(at + 1) }]);
    await page.goto(url);
  },
  /** Scrolls what has this label from its beginning to its end within so many frames, and says how that went. */
  async scrolled(label, frames) {
    const of = page.getByLabel(label).and(page.locator(".window"));
    await of.hover();
    const told = await of.evaluate(async (element, frames) => {
      const frame = () => new Promise(requestAnimationFrame);
      const took = [];
      let most = 0;
      let nodes = 0;
      let blank = 0;
      const far = element.scrollHeight - element.clientHeight;
      for (let last = await frame(), at = 1; at <= frames; at += 1) {
        element.scrollTop = (far * at) / frames;
        const now = await frame();
        took.push(now - last);
        last = now;
        const rows = element.querySelectorAll(".row");
        most = Math.max(most, rows.length);
        nodes = Math.max(nodes, element.querySelectorAll("*").length);
        // Whether what is in sight is drawn.
        const { top, bottom } = element.getBoundingClientRect();
        const edges = [...rows].map((row) => row.getBoundingClientRect());
        const drawn =
          edges.some((row) => row.top <= top + 2) && edges.some((row) => row.bottom >= bottom - 2);
        blank += drawn ? 0 : 1;
      }
      took.sort((one, other) => one - other);
      const at = (share) => Math.round(took[Math.floor((took.length - 1) * share)]);
      const rows = Number(element.querySelector(".row").ariaSetSize);
      return { rows, most, nodes, blank, frames, median: at(0.5), p95: at(0.95), longest: at(1) };
    }, Number(frames));
    return JSON.stringify(told);
  },
  async wear(colours, width) {
    await page.emulateMedia({ colorScheme: colours });
    await page.setViewportSize({ width: Number(width), height: 860 });
  },
  async shot(path) {
    await page.screenshot({ path });
  },
  /** No violation of WCAG 2.2 AA that axe knows, and nothing that sticks out. */
  async check() {
    // The content policy lets no script in, not even this one: it is run beside the page's.
    const session = await context.newCDPSession(page);
    const { result } = await session.send("Runtime.evaluate", {
      expression: `${axe}; axe.run({ exclude: ${JSON.stringify(ALIKE)} }, { runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"] })
        .then(({ violations }) => JSON.stringify(violations.map(({ id, nodes }) => [id, nodes[0].html, nodes[0].failureSummary])))`,
      awaitPromise: true,
    });
    if (result.value !== "[]") throw new Error(`axe: ${result.value}`);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) throw new Error(`the page is ${wide} px too wide`);
    const out = await page.evaluate(() => {
      const scrolls = (of) =>
        of && (getComputedStyle(of).overflowX !== "visible" || scrolls(of.parentElement));
      const sticks = (of) => of.checkVisibility() && of.getBoundingClientRect().right > innerWidth + 1;
      const found = [...document.querySelectorAll("a, button, input, select")];
      return found.filter((of) => sticks(of) && !scrolls(of.parentElement)).map((of) => of.outerHTML);
    });
    if (out.length > 0) throw new Error(`out of reach: ${out}`);
    if (faults.length > 0) throw new Error(faults.join("; "));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [deed, ...words] = line.split("\t");
  try {
    const said = await deeds[deed](...words);
    console.log(["done", said].filter((part) => part !== undefined).join("\t"));
  } catch (error) {
    await page.screenshot({ path: "/tmp/geofilter-page-failed.png" }).catch(() => {});
    console.log(`${line}: ${error.message}`.replaceAll("\n", " "));
  }
}
await browser.close();
