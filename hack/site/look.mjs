// look.mjs DIR [PICTURES]: serves the built site on loopback and looks at it in Chromium, at the widths of a desk and of a phone,
// light and dark: nothing overflows, nothing comes from elsewhere, no error is reported, axe-core finds nothing, and the search finds.
// It uses the browser's driver of test/observe/browser. PICTURES is a folder for screenshots.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [dir, pictures] = process.argv.slice(2);
const require = createRequire(path.resolve(import.meta.dirname, "../../test/observe/browser/look.mjs"));
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")));
const { tellsOfNetwork, visit } = await import(pathToFileURL(path.resolve(import.meta.dirname, "../../test/observe/browser/visit.mjs")));
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2" };
const server = http.createServer((request, response) => {
  const asked = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  const file = path.join(dir, path.normalize(asked.endsWith("/") ? asked + "index.html" : asked));
  if (!fs.existsSync(file)) return response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[path.extname(file)] ?? "application/octet-stream" }).end(fs.readFileSync(file));
});
await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
const base = `http://127.0.0.1:${server.address().port}`;

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file));
if (!executablePath) throw new Error("there is no Chromium: apt-get install chromium");
const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const problems = [];
const pages = fs.readdirSync(dir, { recursive: true }).filter((name) => name.endsWith(".html") && name !== "404.html").sort();
for (const [name, width, height] of [["desktop", 1440, 900], ["phone", 390, 844]]) {
  const page = await browser.newPage();
  let at = "";
  const report = (what) => problems.push(`${at} ${name}: ${what}`);
  page.on("console", (message) => { if (message.type() === "error" && !tellsOfNetwork(message.text())) report(message.text()); });
  page.on("pageerror", (error) => report(error));
  page.on("request", (request) => { if (!request.url().startsWith(base) && !request.url().startsWith("data:")) report(`loads ${request.url()}`); });
  await page.setViewport({ width, height });
  for (at of pages) {
    for (const scheme of name === "phone" || at !== "index.html" ? ["light"] : ["light", "dark"]) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await visit(page, `${base}/${at}`, { waitUntil: "networkidle0" });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) report(`is ${wide} pixels wider than the screen`);
      if (pictures) await page.screenshot({ path: path.join(pictures, `${at.replaceAll("/", "-")}-${name}-${scheme}.png`) });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => axe.run({ exclude: [[".shiki"]] })); // the highlighter's colours are GitHub's
      for (const { id, impact, nodes } of violations) if (impact === "critical" || impact === "serious") report(`${id}: ${nodes[0].html.slice(0, 200)}`);
    }
  }
  at = "search";
  await visit(page, base, { waitUntil: "networkidle0" });
  await page.click(".VPNavBarSearchButton, #local-search button");
  await page.waitForSelector(".VPLocalSearchBox input");
  await page.type(".VPLocalSearchBox input", "deactivation");
  await page.waitForSelector(".VPLocalSearchBox .result", { timeout: 10000 }).catch(() => report("finds nothing"));
  if (pictures) await page.screenshot({ path: path.join(pictures, `search-${name}.png`) });
  await page.close();
}
await browser.close();
server.close();
console.log([...new Set(problems)].join("\n") || `${pages.length} pages looked at`);
process.exit(problems.length > 0 || pages.length < 40 ? 1 : 0);
