// Builds README.md and docs/ as a site. What the pages link to outside of them is shown on the repository's own pages.
import fs from "node:fs";
import path from "node:path";
import { slug } from "github-slugger";
import { defineConfig } from "vitepress";

const repository = "https://github.com/scim-operator/scim-operator";
const root = path.resolve(import.meta.dirname, "../../..");
const pages = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

// isPage says whether a file of the repository, by its path from the root, becomes a page of the site.
const isPage = (file: string) => pages.includes(file) || (file.startsWith("docs/") && file.endsWith(".md"));

// rewrite is a page's path in the site: a README is the index of its folder.
const rewrite = (file: string) => file.replace(/(^|\/)README\.md$/, "$1index.md");

// title is the first heading of a page.
const title = (file: string) => /^# (.+)$/m.exec(fs.readFileSync(path.join(root, file), "utf8"))![1].replaceAll("`", "");

// item is a page in the menu, under its own first heading.
const item = (file: string) => ({ text: title(file), link: "/" + rewrite(file).replace(/(index)?\.md$/, "") });

const section = (text: string, files: string[]) => ({ text, items: files.map(item) });

const inFolder = (folder: string) => fs.readdirSync(path.join(root, folder))
  .filter((name) => name.endsWith(".md") && name !== "README.md").sort().map((name) => `${folder}/${name}`);

const sidebar = [
  section("Begin", ["README.md", "docs/walkthrough.md", "docs/comparison.md", "docs/faq.md"]),
  section("Identity providers", ["docs/guides/README.md", ...inFolder("docs/guides"), "docs/entra.md", ...inFolder("docs/providers")]),
  section("Use", ["docs/tokens.md", "docs/oidc.md", "docs/access.md", "docs/login.md", "docs/kubectl-scim.md"]),
  section("Operate", ["docs/operations.md", "docs/flags.md", "docs/compatibility.md", "docs/metrics.md", "docs/audit.md", "docs/privacy.md", "docs/benchmarks.md", "docs/e2e.md"]),
  section("Alerts", ["docs/runbooks/README.md", ...inFolder("docs/runbooks")]),
  section("Reference", ["docs/api.md", "docs/protocol.md", "docs/architecture.md", "docs/security.md"]),
  section("Project", ["docs/release.md", "docs/third-party.md", "docs/versioning.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]),
];

// What is in no section is in the menu all the same, before the alerts.
const listed = new Set(sidebar.flatMap((part) => part.items.map(({ link }) => link)));
const others = inFolder("docs").filter((file) => !listed.has(item(file).link));
if (others.length > 0) sidebar.splice(4, 0, section("More", others));

// target is where a link of a page leads in the site: to a page, or to the repository for a file that is none.
function target(from: string, href: string): string {
  if (/^([a-z]+:|#|\/)/.test(href)) return href;
  const [file, anchor] = href.split("#");
  const to = path.posix.normalize(path.posix.join(path.posix.dirname(from), file));
  if (isPage(to)) return "/" + rewrite(to).replace(/(index)?\.md$/, "") + (anchor ? "#" + anchor : "");
  const kind = fs.statSync(path.join(root, to)).isDirectory() ? "tree" : "blob";
  return `${repository}/${kind}/main/${to}` + (anchor ? "#" + anchor : "");
}

export default defineConfig({
  title: "scim-operator",
  description: "SCIM 2.0 provisioning into Kubernetes: people as objects, roles as RBAC, leavers gone before the answer",
  lang: "en",
  head: [["link", { rel: "icon", href: "data:," }]], // none, rather than one that is not there
  srcDir: root,
  srcExclude: ["**/node_modules/**", ...fs.readdirSync(root).filter((name) => name !== "docs" && !pages.includes(name)).map((name) => `${name}{,/**}`)],
  rewrites: rewrite,
  outDir: process.env.SITE_DIR || path.join(root, "bin/site"),
  cacheDir: path.join(root, "bin/site-cache"),
  base: process.env.SITE_BASE || "/",
  cleanUrls: false,
  lastUpdated: false,
  ignoreDeadLinks: "localhostLinks",
  appearance: true,
  // The pages are no part of this folder, and would not find its modules.
  vite: { resolve: { alias: [
    { find: /^vue\/server-renderer$/, replacement: path.resolve(import.meta.dirname, "../node_modules/vue/server-renderer/index.mjs") },
    { find: /^vue$/, replacement: path.resolve(import.meta.dirname, "../node_modules/vue/dist/vue.runtime.esm-bundler.js") },
  ] } },
  themeConfig: {
    sidebar,
    nav: [
      { text: "Operations", link: "/docs/operations" },
      { text: "Security", link: "/docs/security" },
      { text: "API", link: "/docs/api" },
    ],
    outline: [2, 3],
    search: { provider: "local" },
    socialLinks: [{ icon: "github", link: repository }],
    footer: { message: "Apache-2.0" },
  },
  markdown: {
    languageAlias: { console: "shellsession" },
    anchor: { slugify: slug }, // as GitHub makes them: the pages' links are for both
    config(md) {
      // Descriptions of fields have words such as <namespace>, which are no elements.
      md.renderer.rules.html_inline = (tokens, index) => /^<\/?(br|a|img)[\s/>]/.test(tokens[index].content) ? tokens[index].content : md.utils.escapeHtml(tokens[index].content);
      // Two braces begin an expression in the site's templates, and mean themselves in a page.
      const braces = (html: string) => html.replaceAll("{{", "&#123;&#123;");
      md.renderer.rules.text = (tokens, index) => braces(md.utils.escapeHtml(tokens[index].content));
      md.renderer.rules.code_inline = (tokens, index) => `<code v-pre>${md.utils.escapeHtml(tokens[index].content)}</code>`;
      md.core.ruler.push("targets", ({ tokens, env }) => {
        const from = path.relative(root, env.realPath ?? env.path);
        for (const token of tokens.flatMap((block) => block.children ?? [])) {
          const href = token.type === "link_open" ? token.attrGet("href") : null;
          if (href) token.attrSet("href", target(from, href));
        }
      });
    },
  },
});
