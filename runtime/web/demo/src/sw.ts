/** The service worker: the page's own files from a cache, so that it opens without a network. */

/** Name of this build, and its files; put in by the build. */
declare const SHELL: { readonly version: string; readonly files: readonly string[] };

const worker = self as unknown as ServiceWorkerGlobalScope;
const { scope } = worker.registration; // the page's folder, at a server's root or below it
const ADDRESSES = new Set(SHELL.files.map((file) => new URL(file, scope).href));
const PREFIX = `osd-edge-page ${scope} `; // caches are of the server, and may hold other pages
const CACHE = PREFIX + SHELL.version;

worker.addEventListener("install", (event) => {
  const requests = [...ADDRESSES].map((address) => new Request(address, { cache: "reload" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(requests)));
});

worker.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith(PREFIX) && name !== CACHE))
      .then((old) => Promise.all(old.map((name) => caches.delete(name))))
      .then(() => worker.clients.claim()),
  );
});

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
