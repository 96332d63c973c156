/** The measurement's report: memory that only the page may ask for, a table, and sharing. */

import { element } from "./dom.js";
import { ms } from "./format.js";

const MEMORY_WAIT_MS = 15_000; // browsers measure when they next collect garbage

/** Memory of the page and its workers in bytes; null where the browser does not tell. */
export async function pageMemory(): Promise<number | null> {
  const ask = (
    performance as { measureUserAgentSpecificMemory?: () => Promise<{ bytes: number }> }
  ).measureUserAgentSpecificMemory;
  if (ask === undefined) return null;
  const late = new Promise<null>((resolve) => setTimeout(() => resolve(null), MEMORY_WAIT_MS));
  try {
    return (await Promise.race([ask.call(performance), late]))?.bytes ?? null;
  } catch {
    return null;
  }
}

interface Shown {
  readonly scenarios: readonly {
    readonly id: string;
    readonly figures: Readonly<Record<string, { p50: number; p90: number }>>;
    readonly rows: readonly {
      readonly of: { readonly task: string };
      readonly figures: Readonly<Record<string, { p50: number; p90: number } | number>>;
    }[];
  }[];
}

/** A table of medians: an answer, a swap cold and warm, for no task and for each. */
export function showReport(box: HTMLElement, report: unknown): void {
  const { scenarios } = report as Shown;
  const of = (id: string): Shown["scenarios"][number] => scenarios.find((s) => s.id === id)!;
  const cell = (value: { p50: number } | number | undefined): string =>
    value === undefined ? "–" : ms(typeof value === "number" ? value : value.p50);
  const line = (name: string, ...cells: string[]): HTMLElement =>
    element(
      "tr",
      {},
      element("th", { scope: "row", textContent: name }),
      ...cells.map((text) => element("td", { textContent: text })),
    );
  const head = ["", "Answer", "Swap cold", "Swap warm"].map((text) =>
    element("th", { scope: "col", textContent: text }),
  );
  const rows = of("task").rows.map(({ of: { task }, figures }, i) => {
    const swap = of("swap").rows[i]!.figures;
    return line(task, cell(figures.latency_ms), cell(swap.cold_ms), cell(swap.warm_ms));
  });
  const base = line("no task", cell(of("base").figures.latency_ms), "–", "–");
  const body = element("tbody", {}, base, ...rows);
  box.replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...head)), body));
}

/** Share the report as a file by the phone's own sheet, else download it. */
export async function shareReport(report: unknown): Promise<void> {
  const text = `${JSON.stringify(report, null, 2)}\n`;
  const file = new File([text], "osd-edge-bench.json", { type: "application/json" });
  if (navigator.canShare?.({ files: [file] })) {
    await navigator.share({ files: [file], title: "OSD Edge measurement" });
    return;
  }
  const url = URL.createObjectURL(file);
  element("a", { href: url, download: file.name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
