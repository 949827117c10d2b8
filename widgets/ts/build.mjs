// Builds the notebook view: one ES module and one style sheet, which the Python package ships.
//
//   node build.mjs           write them
//   node build.mjs --check   fail when the committed ones are not what the sources give

import { build } from "esbuild";
import { readFile, writeFile } from "node:fs/promises";

const here = new URL(".", import.meta.url);
const OUT = new URL("../collabkernel_widgets/static/", here);
const BANNER = "Made by `npm run build` in widgets/ts; do not edit.";

// Yjs warns when a page holds two copies. Ours is private to the bundle (no Yjs object crosses it), JupyterLab has its
// own, and every widget evaluates the bundle anew: the warning would be noise for each.
const quietYjs = {
  name: "quiet-yjs",
  setup(builder) {
    builder.onLoad({ filter: /yjs\/dist\/yjs\.mjs$/ }, async ({ path }) => {
      const source = await readFile(path, "utf-8");
      const quiet = source.replace(/if \(glo\[importIdentifier\] === true\) \{[\s\S]*?\n\}\nglo\[importIdentifier\] = true;?/, "");
      if (quiet === source) throw new Error("yjs no longer looks as the build expects; read its last lines");
      return { contents: quiet, loader: "js" };
    });
  },
};

const result = await build({
  entryPoints: { view: new URL("src/view/index.ts", here).pathname, "view.css": new URL("src/view/view.css", here).pathname },
  entryNames: "[name]",
  outdir: OUT.pathname,
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  banner: { js: `// ${BANNER}`, css: `/* ${BANNER} */` },
  plugins: [quietYjs],
  write: false,
});

let isStale = false;
for (const { path, text } of result.outputFiles) {
  const name = path.slice(path.lastIndexOf("/") + 1).replace("view.css.css", "view.css");
  const file = new URL(name, OUT);
  if (process.argv.includes("--check")) {
    const committed = await readFile(file, "utf-8").catch(() => "");
    if (committed !== text) {
      console.error(`${name} is stale: run \`npm run build\` in widgets/ts and commit it`);
      isStale = true;
    }
  } else {
    await writeFile(file, text);
    console.log(`${name}: ${(text.length / 1024).toFixed(1)} kB`);
  }
}
process.exitCode = isStale ? 1 : 0;
