"""Writes a report as one HTML page that needs nothing else: style and plots are inside."""

from html import escape

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.render.charts import charts_of
from osd_edge.device_tests.render.figures import number_of, scenario_of
from osd_edge.device_tests.render.style import STYLE
from osd_edge.device_tests.render.tables import Table, facts_of, tables_of
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.printable import printable
from osd_edge.device_tests.report.schema import Report

_SIGNS = {"passed": "✓", "failed": "✗", "incomplete": "…"}


def to_html(report: Report) -> str:
    """Writes one HTML page with tables and plots, dark where the reader's system is.

    Args:
        report: A report, as `measure` or `read_report` gives it.

    Returns:
        The page, which loads nothing from elsewhere; every text of the report is escaped.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import to_html
        >>> page = to_html(read_report("report.json"))
        >>> page.startswith("<!doctype html>"), "<svg" in page
        (True, True)
    """
    check_report(report)
    status = report["verdict"]["status"]
    base = report["base"]["name"] if report["base"] else "no base"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>What tasks cost: {escape(str(base))}</title>",
        f"<style>{STYLE}</style></head><body><main>",
        "<header><h1>What tasks cost on this device</h1>",
        f'<p class="where">{escape(_where(report))}</p>',
        f'<p class="verdict {status}"><span aria-hidden="true">{_SIGNS[status]}</span> '
        f"{escape(report['verdict']['line'])}</p></header>",
    ]
    if report["machine"]["kind"] == "emulated":
        parts.append(
            '<p class="banner">This machine is emulated. Memory and sizes hold; times would not, '
            "and there are none.</p>"
        )
    tiles = _tiles(report)
    if tiles:
        parts.append('<section class="tiles" aria-label="At a glance">')
        parts += [
            f'<div class="tile"><div class="big">{escape(big)}</div>'
            f"<div>{escape(words)}</div></div>"
            for big, words in tiles
        ]
        parts.append("</section>")
    charts = charts_of(report)
    for title, caption, chart in charts:
        parts.append(
            f"<figure><figcaption><h2>{escape(title)}</h2><p>{escape(caption)}</p></figcaption>"
            f"{chart}</figure>"
        )
    withheld = report["plan"].get("withhold_latency")
    if withheld:
        parts.append(f'<p class="banner">Times are not given: {escape(str(withheld))}</p>')
    parts.append("<h2>Where and how</h2><dl>")
    parts += [f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts_of(report)]
    parts.append("</dl>")
    parts += [_table(table) for table in tables_of(report)]
    parts.append("</main></body></html>")
    return printable("\n".join(parts) + "\n")


def _where(report: Report) -> str:
    machine, base = report["machine"], report["base"]
    words = [str(machine.get("processor", "unknown machine"))]
    if base is not None:
        words.append(f"{base['name']}, {format_size(base['file_bytes'])}")
    return " · ".join([*words, report["created"][:10]])


def _tiles(report: Report) -> list[tuple[str, str]]:
    """Picks the few figures that a colleague would ask for first."""
    tiles = []
    tasks, models = scenario_of(report, "tasks"), scenario_of(report, "models")
    size, count = number_of(tasks, "pss_bytes"), number_of(tasks, "fitting_count")
    each, theirs = number_of(tasks, "per_task_bytes"), number_of(models, "per_task_bytes")
    if size is not None and count:
        tiles.append((format_size(size), f"for {count:g} tasks over one base, all in one process"))
    if each is not None and theirs is not None:
        tiles.append(
            (format_size(max(each, 0)), f"for each task more; a model more: {format_size(theirs)}")
        )
    swap = scenario_of(report, "swap")
    warm, cold = number_of(swap, "warm_ms"), number_of(swap, "cold_ms")
    if warm is not None and cold is not None:
        tiles.append((f"{cold:.1f} ms", f"a swap from the file; {warm * 1000:.1f} µs when decoded"))
    ratio = number_of(scenario_of(report, "task"), "to_plain_ratio")
    if ratio is not None:
        tiles.append((f"{ratio:.2f} ×", "latency with a task, over the plain graph"))
    return tiles


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.note)}</p>' if table.note else ""
    words = ' class="words"' if table.title in ("Checked", "Without figures") else ""
    return (
        f'<section><h2>{escape(table.title)}</h2><div class="scroll"><table{words}><thead><tr>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}</section>"
    )
