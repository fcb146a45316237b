// How report pages look in a browser: node .ci/report.mjs PAGE..
//
// No console error, every figure has a size, and nothing overflows: light and dark, wide and narrow. Needs playwright-core, and a Chromium
// in the path or in CHROMIUM; says that it skips where there is none.
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const skip = (why) => {
  console.log(`skipped: ${why}`);
  process.exit(0);
};
let chromium;
try {
  ({ chromium } = createRequire(resolve("package.json"))("playwright-core"));
} catch {
  skip("no playwright-core (npm install --no-save playwright-core)");
}
const inPath = (name) => {
  try {
    return execFileSync("which", [name], { stdio: ["ignore", "pipe", "ignore"] }).toString().trim();
  } catch {
    return undefined;
  }
};
const names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const executablePath = process.env.CHROMIUM || names.map(inPath).find(Boolean);
if (!executablePath) skip("no Chromium");

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
const wrong = [];
for (const file of process.argv.slice(2)) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [1400, 800, 360]) {
      const page = await browser.newPage({ colorScheme, viewport: { width, height: 900 } });
      const say = (what) => wrong.push(`${file}, ${colorScheme}, ${width} wide: ${what}`);
      page.on("console", (message) => message.type() === "error" && say(message.text()));
      page.on("pageerror", (error) => say(error.message));
      await page.goto(pathToFileURL(resolve(file)).href);
      const found = await page.evaluate(() => ({
        empty: [...document.querySelectorAll("svg")].filter((svg) => {
          const box = svg.getBoundingClientRect();
          // What is folded away has no size for now.
          return !svg.closest("details:not([open])") && !(box.width > 0 && box.height > 0);
        }).length,
        over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      }));
      if (found.empty) say(`${found.empty} figures without a size`);
      if (found.over > 0) say(`${found.over} pixels too wide`);
      await page.close();
    }
  }
}
await browser.close();
if (wrong.length) {
  console.error(wrong.join("\n"));
  process.exit(1);
}
console.log("all pages are well in the browser");
