/** Names in what all pages of a server share: storage, locks, channels. */

const FOLDER = new URL(".", self.location.href).pathname; // of the page and of its worker

/** The name of this page's own `what`; a page below another path has another. */
export function named(what: string): string {
  return `osd-edge ${what} ${FOLDER}`;
}

/** The cache that has the base and the tasks. */
export const FILES_CACHE = named("files-1");
