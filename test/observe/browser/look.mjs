// look.mjs URL DIR: opens the status page at two widths, light and dark, with and without script, and prints what it found as JSON.
// Screenshots go to DIR.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";
import { tellsOfNetwork, visit } from "./visit.mjs";

const [url, dir] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file));
if (!executablePath) throw new Error("there is no Chromium: apt-get install chromium");

const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const found = { violations: [], errors: [], requests: [], overflow: [], dialogs: 0, withoutScript: "", firstStop: "", updated: false };
for (const [name, width, height] of [["desktop", 1280, 900], ["phone", 390, 844]]) {
  for (const scheme of ["light", "dark"]) {
    const page = await browser.newPage();
    page.on("dialog", (dialog) => { found.dialogs++; dialog.dismiss(); });
    page.on("console", (message) => { if (message.type() === "error" && !message.text().includes("404") && !tellsOfNetwork(message.text())) found.errors.push(message.text()); });
    page.on("pageerror", (error) => found.errors.push(String(error)));
    page.on("request", (request) => { if (new URL(request.url()).host !== new URL(url).host) found.requests.push(request.url()); });
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await visit(page, url, { waitUntil: "load" });
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) found.overflow.push(name);
    if (scheme === "light") await page.screenshot({ path: path.join(dir, `status-${name}.png`), fullPage: name === "desktop" });
    await page.keyboard.press("Tab");
    found.firstStop = await page.evaluate(() => document.activeElement.textContent);
    await page.evaluate(axe); // by the debugger, which no policy stops
    const result = await page.evaluate(() => axe.run());
    for (const v of result.violations) found.violations.push(`${name} ${scheme}: ${v.id}: ${v.nodes.map((n) => n.html).slice(0, 2).join(" ")}`);
    if (name === "desktop" && scheme === "light") {
      await page.evaluate(() => document.activeElement.blur());
      await page.evaluate(() => { document.getElementById("problems").remove(); });
      found.updated = await page.waitForSelector("#problems", { timeout: 30000 }).then(() => true, () => false);
    }
    await page.close();
  }
}
const plain = await browser.newPage();
await plain.setJavaScriptEnabled(false);
await visit(plain, url, { waitUntil: "load" });
found.withoutScript = await plain.$eval("main", (main) => main.textContent);
await browser.close();
console.log(JSON.stringify(found));
