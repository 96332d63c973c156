/**
 * Every way OSD Edge refuses: one class for each kind of thing refused, one stable code for each
 * reason. The codes are those of the Python runtime (docs/errors.md, docs/bundle-format.md).
 */

/** Base of all refusals. `code` is stable, for programs; the message is for people. */
export class OsdEdgeError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** A task bundle is damaged, of an unknown version, or of another base. */
export class BundleError extends OsdEdgeError {}

/** A base package is damaged, incomplete or of an unknown version. */
export class BaseError extends OsdEdgeError {}

/** A task name is unknown to the session, or already taken. */
export class TaskError extends OsdEdgeError {}

/** An argument or a run input has the wrong kind or shape. */
export class InputError extends OsdEdgeError {}

/** What to do about a bundle, by its code; said at the end of the message. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/short|header|not-a/, "not a task bundle"],
  [/version|unknown|kind/, "update osd-edge"],
  [/base$|mismatch|branch/, "export base and task anew"],
];

/** A refusal of a bundle, `reason` being its code without `bundle.`. */
export function bundleError(reason: string, found: string): BundleError {
  const advice = ADVICE.find(([codes]) => codes.test(reason))?.[1] ?? "damaged, copy it again";
  return new BundleError(`bundle.${reason}`, `${found}: ${advice}`);
}

/** Refuse a bundle for `reason` unless it `holds` what it must. */
export function checkBundle(reason: string, holds: boolean, found: string): asserts holds {
  if (!holds) throw bundleError(reason, found);
}

/** A refusal of a base package, `reason` being its code without `base.`. */
export function baseError(reason: string, found: string): BaseError {
  return new BaseError(`base.${reason}`, `${found}: copy or export the base again`);
}

/** A refusal of what was given to a run, `reason` being its code without `input.`. */
export function inputError(reason: string, found: string): InputError {
  return new InputError(`input.${reason}`, found);
}

/** A refusal of a task, `reason` being its code without `task.`. */
export function taskError(reason: string, found: string): TaskError {
  return new TaskError(`task.${reason}`, found);
}

/** The message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return shown(String((error as Error | null)?.message ?? error), 200);
}

/** Text from a file or another program, fit for a message: one line, cut, no control codes. */
export function shown(text: string, length = 80): string {
  const cut = text.length <= length ? text : `${text.slice(0, length - 1)}…`;
  return cut.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
}
