/** Builds the phone page: demo/ into page/, with onnxruntime-web's WebAssembly beside it. */

import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { png } from "./icon.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const demo = join(root, "demo");
const finished = join(root, process.argv[2] ?? "page");
// Built beside it and moved there as a whole: a build that breaks off is never served.
const page = join(root, "build", "page");
const old = join(root, "build", "page-old");
const require = createRequire(import.meta.url);
const ortFolder = dirname(require.resolve("onnxruntime-web"));
const version = (folder) => JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
const source = readFileSync(join(root, "..", "..", "osd_edge", "__init__.py"), "utf8");
const [, ownVersion] = source.match(/^__version__ = "(.+)"$/m);

const remove = (folder) => rmSync(folder, { recursive: true, force: true });
remove(page);
mkdirSync(join(page, "ort"), { recursive: true });
for (const name of ["index.html", "style.css", "icon.svg", "manifest.webmanifest"]) {
  cpSync(join(demo, name), join(page, name));
}
for (const size of [192, 512]) writeFileSync(join(page, `icon-${size}.png`), png(size));
for (const name of ["ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]) {
  cpSync(join(ortFolder, name), join(page, "ort", name));
}

const options = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  // The WebAssembly is a file of its own, so the loader that looks for it there is taken.
  conditions: ["onnxruntime-web-use-extern-wasm"],
};
const define = {
  VERSION: JSON.stringify(ownVersion),
  ORT_VERSION: JSON.stringify(version(join(ortFolder, ".."))),
};
const { metafile } = await build({
  ...options,
  define,
  entryPoints: ["app", "worker"].map((name) => join(demo, "src", `${name}.ts`)),
  outdir: page,
  metafile: true,
});

// Other people's packages that are now in the page, for its list of licences.
const packages = new Set(["onnxruntime-web"]); // its WebAssembly is copied, not bundled
for (const input of Object.keys(metafile.inputs)) {
  const found = input.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (found) packages.add(found[1]);
}
const bundled = [...packages].sort().map((name) => {
  const folder = join(root, "node_modules", name);
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return { name, version, license };
});
writeFileSync(join(root, "build", "bundled.json"), `${JSON.stringify(bundled, null, 2)}\n`);

// The service worker knows every file, and is another one whenever any of them changes.
const files = readdirSync(page, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(page.length + 1).replaceAll("\\", "/"))
  .sort();
const digest = createHash("sha256");
for (const file of files) digest.update(file).update(readFileSync(join(page, file)));
await build({
  ...options,
  define: { SHELL: JSON.stringify({ version: digest.digest("hex").slice(0, 16), files }) },
  entryPoints: [join(demo, "src", "sw.ts")],
  outdir: page,
});
remove(old);
mkdirSync(dirname(finished), { recursive: true });
if (existsSync(finished)) renameSync(finished, old);
renameSync(page, finished);
remove(old);
console.log(`${finished}: ${files.length + 1} files`);
