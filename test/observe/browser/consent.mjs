// consent.mjs URL BACK DIR: plays the user that connects an OAuth client, in browsers without each other's cookies, at an
// authorize endpoint. It prints the codes that the pages show as one line of JSON; then the caller approves "approved", denies
// "denied" and has "expired" expire, and the pages must follow by themselves. The approved one is opened again in two tabs at once. A
// forged redirect is tried. Then it prints what it found. What goes to BACK is answered here.
// Screenshots go to DIR.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";
import { tellsOfNetwork, visit } from "./visit.mjs";

const [url, back, dir] = process.argv.slice(2);
const require = createRequire(import.meta.url);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) => fs.existsSync(file));
if (!executablePath) throw new Error("there is no Chromium: apt-get install chromium");

const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
const found = { violations: [], errors: [], requests: [], overflow: [], returned: {}, denied: "", expired: "", forged: "", foreign: "", framed: true, announced: "", keyboard: {}, moving: [] };
async function open(name, address = url, context = undefined) {
  context ??= await browser.createBrowserContext();
  const page = await context.newPage();
  page.on("console", (message) => { if (message.type() === "error" && !/status of 40[04]/.test(message.text()) && !tellsOfNetwork(message.text())) found.errors.push(`${name}: ${message.text()}`); });
  page.on("pageerror", (error) => found.errors.push(`${name}: ${error}`));
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    if (request.url().startsWith(back)) {
      found.returned[name] = [...(found.returned[name] ?? []), request.url()];
      return request.respond({ status: 200, contentType: "text/html", body: "<!doctype html><title>Okta</title>" });
    }
    if (new URL(request.url()).host === new URL(back).host) return request.respond({ status: 204 }); // its icon
    if (new URL(request.url()).host !== new URL(url).host) found.requests.push(request.url());
    return request.continue();
  });
  await visit(page, address, { waitUntil: "load" });
  return page;
}
const pages = { approved: await open("approved"), denied: await open("denied"), expired: await open("expired") };
const consent = pages.approved.url();
for (const [name, width, height] of [["desktop", 1280, 900], ["phone", 390, 844]]) {
  for (const scheme of ["light", "dark"]) {
    const page = pages.approved;
    await page.setViewport({ width, height });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    if (await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)) found.overflow.push(name);
    if (scheme === "light") await page.screenshot({ path: path.join(dir, `consent-${name}.png`) });
    await page.evaluate(axe); // by the debugger, which no policy stops
    const result = await page.evaluate(() => axe.run());
    for (const v of result.violations) found.violations.push(`${name} ${scheme}: ${v.id}: ${v.nodes.map((n) => n.html).slice(0, 2).join(" ")}`);
  }
}
// By keyboard alone, and with nothing that moves: what Tab comes to, whether it is seen there, and what is animated.
async function tab(name, page) {
  await page.bringToFront();
  await page.keyboard.press("Tab");
  found.keyboard[name] = await page.evaluate(() => {
    const at = document.activeElement, style = getComputedStyle(at);
    return `${at.id || at.textContent}${style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 ? "" : ", not to be seen"}`;
  });
}
await pages.approved.emulateMediaFeatures([{ name: "prefers-reduced-motion", value: "reduce" }]);
await tab("pending", pages.approved);
found.moving = await pages.approved.evaluate(() => [...document.getAnimations().map((a) => a.id || "an animation"),
  ...[...document.querySelectorAll("*")].filter((node) => { const s = getComputedStyle(node); return s.animationName !== "none" || parseFloat(s.transitionDuration) > 0; }).map((node) => node.tagName)]);
const codes = {};
for (const [name, page] of Object.entries(pages)) codes[name] = (await page.$eval("#code", (code) => code.textContent)).replace("Code: ", "").trim();
// Another browser with the address of the page, and a site that frames it.
const stranger = await (await browser.createBrowserContext()).newPage();
await visit(stranger, pages.approved.url(), { waitUntil: "load" });
found.foreign = await stranger.$eval("main", (main) => main.textContent);
await stranger.setContent(`<iframe src="${pages.approved.url()}"></iframe>`);
await new Promise((done) => setTimeout(done, 1000));
found.framed = await stranger.frames().at(-1).evaluate(() => Boolean(document.getElementById("main"))).catch(() => false);
found.announced = await pages.approved.$eval("[role=status]", (status) => status.textContent);
const forged = new URL(url);
forged.searchParams.set("redirect_uri", "https://evil.example.com/callback");
found.forged = await (await open("forged", forged.href)).$eval("main", (main) => main.textContent);
console.log(JSON.stringify(codes));

const until = async (holds) => { for (let i = 0; i < 150 && !(await holds().catch(() => false)); i++) await new Promise((done) => setTimeout(done, 200)); };
await until(async () => (found.returned.approved ?? []).length > 0);
await Promise.all(["first tab", "second tab"].map((name) => open(name, consent, pages.approved.browserContext())));
for (const name of ["denied", "expired"]) {
  await until(async () => (await pages[name].title()) !== "Approve the connection");
  found[name] = await pages[name].$eval("main", (main) => main.textContent);
  await pages[name].evaluate(axe);
  for (const v of (await pages[name].evaluate(() => axe.run())).violations) found.violations.push(`${name}: ${v.id}`);
  await tab(name, pages[name]);
  await pages[name].keyboard.press("Enter");
  await until(async () => (found.returned[name] ?? []).length > 0);
}
await browser.close();
console.log(JSON.stringify(found));
