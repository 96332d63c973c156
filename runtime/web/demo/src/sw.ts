/** The service worker: the page's own files from a cache, so that it opens without a network. */

import { FILES_CACHE } from "./names.js";

/** Name of this build, and its files; put in by the build. */
declare const SHELL: { readonly version: string; readonly files: readonly string[] };

const worker = self as unknown as ServiceWorkerGlobalScope;
const { scope } = worker.registration; // the page's folder, at a server's root or below it
const ADDRESSES = new Set(SHELL.files.map((file) => new URL(file, scope).href));
const PREFIX = `osd-edge-page ${scope} `; // caches are of the server, and may hold other pages
const CACHE = PREFIX + SHELL.version;
const FIRST = "osd-edge-page-";

worker.addEventListener("install", (event) => {
  const requests = [...ADDRESSES].map((address) => new Request(address, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    deleteOlder()
      .catch(() => {}) // they take room, and no more
      .then(() => worker.clients.claim()),
  );
});

/** Delete the caches of earlier versions of this page; those of other pages stay. */
async function deleteOlder(): Promise<void> {
  const isFiles = (name: string): boolean =>
    name.startsWith("osd-edge files-") && name.endsWith(` ${new URL(scope).pathname}`);
  for (const name of await caches.keys()) {
    const own = name.startsWith(PREFIX) || isFiles(name) || (await isFirst(name));
    if (own && name !== CACHE && name !== FILES_CACHE) await caches.delete(name);
  }
  const left = await caches.keys();
  // The first versions, below whatever path, had their files in one.
  if (!left.some((name) => name.startsWith(FIRST))) await caches.delete("osd-edge-files-1");
}

/** Whether a cache is that of one of the first versions, whose names did not tell of which page. */
async function isFirst(name: string): Promise<boolean> {
  if (!name.startsWith(FIRST)) return false;
  return (await (await caches.open(name)).match(`${scope}index.html`)) !== undefined;
}

// A page that is older than its server asks for this; else a new page comes once all are closed.
worker.addEventListener("message", () => void worker.skipWaiting());

worker.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const address = origin + pathname === scope ? `${scope}index.html` : origin + pathname;
  // The catalogue, the base and the tasks are the page's own affair: it keeps them itself.
  if (event.request.method !== "GET" || !ADDRESSES.has(address)) return;
  event.respondWith(
    caches.open(CACHE).then(async (cache) => {
      const kept = await cache.match(address);
      return kept ?? fetch(event.request);
    }),
  );
});
