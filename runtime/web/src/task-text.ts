/** A task's own text settings, the metadata value `osd.text`: how its texts become tokens. */

import { checkBundle, shown } from "./errors.js";
import { isObject, isOneOf, isString, isWithin, type Json } from "./json.js";

/** The settings that a task's texts need, as they stand in the file; the base's own hold else. */
export interface TaskText {
  /** The most tokens of a text, or of a window of it. */
  readonly max_length?: number;
  /** The side on which a longer text is cut. */
  readonly truncation?: "left" | "right";
  /** Text that is put before every first text. */
  readonly prompt?: string;
}

/**
 * Check what `osd.text` holds, of a task that judges tokens or one that does not.
 *
 * Throws BundleError `bundle.text`; `bundle.key-unknown` for a setting of a later release.
 */
export function checkText(given: Json, perToken: boolean): void {
  const settings: Record<keyof TaskText, (value: Json) => boolean> = {
    max_length: isWithin(1, 2 ** 31),
    truncation: isOneOf(["left", "right"]),
    // What is put before a text would move the parts of it that a task finds.
    prompt: (value) => isString(value) && value !== "" && !perToken,
  };
  const entries = isObject(given) ? [...given] : [];
  for (const [key] of entries) {
    checkBundle("key-unknown", Object.hasOwn(settings, key), `osd.text has ${shown(key)}`);
  }
  const fits = entries.every(([key, value]) => settings[key as keyof TaskText](value));
  checkBundle("text", fits && entries.length > 0, "osd.text is malformed");
}
