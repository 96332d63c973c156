/** The service worker: the page's own files from a cache, so that it opens without a network. */

/** Name of this build, and its files; put in by the build. */
declare const SHELL: { readonly version: string; readonly files: readonly string[] };

const worker = self as unknown as ServiceWorkerGlobalScope;
const PREFIX = "osd-edge-page-";
const CACHE = PREFIX + SHELL.version;

worker.addEventListener("install", (event) => {
  const requests = SHELL.files.map((file) => new Request(file, { cache: "reload" }));
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

worker.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  const path = pathname === "/" ? "/index.html" : pathname;
  if (event.request.method !== "GET" || origin !== worker.location.origin) return;
  // The catalogue, the base and the tasks are the page's own affair: it keeps them itself.
  if (!SHELL.files.includes(path.slice(1))) return;
  event.respondWith(
    caches.open(CACHE).then(async (cache) => {
      const kept = await cache.match(path);
      return kept ?? fetch(event.request);
    }),
  );
});
