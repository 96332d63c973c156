/** The page's own files, which its service worker keeps. */

/** Whether the page that is open came from there. */
export function isKept(): boolean {
  return "serviceWorker" in navigator && navigator.serviceWorker.controller !== null;
}

/** Have the browser keep the page; false where it does not. */
export async function keepPage(): Promise<boolean> {
  if (!("serviceWorker" in navigator)) return false;
  const before = isKept();
  try {
    const { installing } = await navigator.serviceWorker.register("sw.js");
    // `ready` waits for ever where a file of the page could not be kept.
    const failed = new Promise<false>((resolve) => {
      installing?.addEventListener("statechange", () => {
        if (installing.state === "redundant") resolve(false);
      });
    });
    return await Promise.race([navigator.serviceWorker.ready.then(() => true), failed]);
  } catch {
    return before;
  }
}

/**
 * Have the next load give the server's page. A new service worker would else wait until every tab
 * of the old page is closed, and a reload show the old page again.
 */
export async function renewPage(): Promise<void> {
  if (!("serviceWorker" in navigator)) return; // a reload asks the server
  const registration = await navigator.serviceWorker.getRegistration();
  await registration?.update();
  const next = registration?.installing ?? registration?.waiting;
  if (!next) return;
  const over = new Promise<void>((resolve) => {
    next.addEventListener("statechange", () => {
      if (next.state === "activated" || next.state === "redundant") resolve();
    });
  });
  next.postMessage("take over");
  await over;
}
