/** Which onnxruntime to use in Node: onnxruntime-node where it is installed, else onnxruntime-web. */

import type { Ort } from "./session.js";

/** `installed` imports onnxruntime-node; whatever it throws is thrown, but that it is not there. */
export async function onnxruntime(
  installed: () => Promise<Ort> = () => import("onnxruntime-node"),
): Promise<Ort> {
  try {
    return await installed();
  } catch (error) {
    if (!isNotInstalled(error)) throw error;
    return (await import("onnxruntime-web")) as unknown as Ort;
  }
}

/** Whether the package itself was not found: not a file of it, nor one that it needs. */
function isNotInstalled(error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return /^(ERR_)?MODULE_NOT_FOUND$/.test(code ?? "") && message.includes("'onnxruntime-node'");
}
