/** Figures for people. */

/** Bytes as KB or MB, as phones show them. */
export function size(bytes: number): string {
  if (bytes >= 1e6) return `${(bytes / 1e6).toFixed(bytes >= 1e7 ? 0 : 1)} MB`;
  return `${(bytes / 1e3).toFixed(bytes >= 1e4 ? 0 : 1)} KB`;
}

/** Milliseconds; browsers round their clock, so nothing is finer than a hundredth. */
export function ms(value: number): string {
  if (value < 0.01) return "under 0.01 ms";
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}
