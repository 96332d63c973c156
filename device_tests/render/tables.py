"""Turns a report into tables of words: the same for a terminal, Markdown and HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from osd_edge.data.sizes import format_size
from osd_edge.device_tests.render.figures import (
    NONE,
    digits,
    figure_of,
    format_value,
    number_of,
    scenario_of,
    text_of,
)
from osd_edge.device_tests.report.check import check_report
from osd_edge.device_tests.report.schema import Report, Row

WAYS = (
    ("tasks", "OSD Edge: one base"),
    ("lora-adapter", "onnxruntime's LoraAdapter"),
    ("session-per-task", "a session per task"),
    ("models", "a fine-tuned model per task"),
)
_TOKEN = ("p50", "p95", "p99")
_LATENCY = ("p50", "p90", "p95", "p99", "trimmed_mean")
_MEMORY = ("rss_bytes", "pss_bytes", "uss_bytes", "anonymous_bytes", "peak_rss_bytes")
_CONDITIONS = {
    "aa_ratio": "plain graph against itself",
    "start_pss_bytes": "memory (PSS) of one start and another",
    "start_cold_start_ms": "cold start of one process and another, ms",
}


@dataclass(frozen=True)
class Table:
    """A table of words: the first column names things, the others hold figures.

    Args:
        title: Its heading.
        header: The names of the columns.
        rows: Rows as long as the header.
        note: What stands below it; empty for nothing.

    Example:
        >>> from osd_edge.device_tests import Table
        >>> Table("Swaps", ("task", "ms"), (("mr", "4.00"),)).note
        ''
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def facts_of(report: Report) -> list[tuple[str, str]]:
    """Lists where, when and how a report was measured.

    Args:
        report: A report, as `measure` or `read_report` gives it.

    Returns:
        Pairs of a name and a text, in the order to show them.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import facts_of
        >>> facts_of(read_report("report.json"))[:2]
        [('date', '2026-01-02T03:04:05+00:00'), ('how', 'measured on the machine itself')]
    """
    check_report(report)
    machine, plan, base = report["machine"], report["plan"], report["base"]
    kind = {
        "native": "measured on the machine itself",
        "emulated": f"EMULATED ({machine.get('emulator', 'no word by what')}): times withheld",
        "browser": "measured in a browser",
    }[machine["kind"]]
    memory = machine.get("memory_bytes")
    known = (machine.get(name) for name in ("processor", "architecture", "system"))
    words = [str(word) for word in known if word is not None]  # a browser tells none of them
    words.append(f"{machine.get('cpus_usable')} of {machine.get('cpus')} CPUs")
    words += [f"{format_size(memory)} memory"] if isinstance(memory, int) else []
    software = machine.get("software") or {}
    versions = [f"osd-edge {report['tool']['version']}"]
    versions += [f"{name} {version}" for name, version in software.items()]
    threads = plan.get("threads")
    run = f"batch {plan.get('batch')} of {plan.get('tokens')} tokens, "
    run += "all cores" if threads == 0 else f"{threads} thread{'' if threads == 1 else 's'}"
    if plan.get("pin"):
        run += f", on processors {', '.join(map(str, plan['pin']))}"
    facts = [
        ("date", report["created"]),
        ("how", kind),
        ("machine", ", ".join(words)),
        ("software", ", ".join(versions)),
    ]
    if base is not None:
        facts.append(
            (
                "base",
                f"{base['name']} ({base['family']}), {format_size(base['file_bytes'])}, "
                f"{base['fingerprint'][:12]}…",
            )
        )
    facts.append(("runs", run))
    facts += [("note", note) for note in report["notes"]]
    return facts


def tables_of(report: Report) -> list[Table]:
    """Makes every table that the report has figures for.

    Args:
        report: A report, as `measure` or `read_report` gives it.

    Returns:
        The tables, in the order to show them.

    Raises:
        ReportError: It is no report, or breaks a rule of reports.

    Example:
        >>> from osd_edge.device_tests import read_report
        >>> from osd_edge.device_tests import tables_of
        >>> tables_of(read_report("report.json"))[0].title
        'Ways to have many tasks'
    """
    check_report(report)
    made = (
        _ways(report),
        _latency(report),
        _swaps(report),
        _writing(report),
        _writing_tasks(report),
        _memory(report),
        _growth(report),
        _load(report),
        _starts(report),
        _conditions(report),
        _checks(report),
        _absent(report),
    )
    return [table for table in made if table.rows]


def _ways(report: Report) -> Table:
    rows = []
    swap, rebuild = scenario_of(report, "swap"), scenario_of(report, "rebuild")
    for name, title in WAYS:
        scenario = scenario_of(report, name)
        if scenario is None:
            continue
        fitting, wanted = text_of(scenario, "fitting_count"), text_of(scenario, "wanted_count")
        change = {
            "tasks": f"{text_of(swap, 'warm_ms')} / {text_of(swap, 'cold_ms')}",
            "lora-adapter": f"{text_of(scenario, 'warm_ms')} / {text_of(scenario, 'load_ms')}",
        }.get(name, f"{NONE} / {text_of(scenario, 'session_ms')}")
        rows.append(
            (
                title,
                fitting if fitting == wanted else f"{fitting} of {wanted}",
                text_of(scenario, "pss_bytes"),
                text_of(scenario, "per_task_bytes"),
                text_of(scenario, "disk_bytes"),
                change,
            )
        )
    if rebuild is not None:
        rows.append(
            (
                "one model at a time, opened anew",
                "1",
                text_of(rebuild, "pss_bytes"),
                NONE,
                NONE,
                f"{NONE} / {text_of(rebuild, 'request_ms')}",
            )
        )
    return Table(
        "Ways to have many tasks",
        ("", "tasks", "memory (PSS)", "a task adds", "on disk", "swap ms, ready / from file"),
        tuple(rows),
        "Each way in a process of its own, every task run once. Where fewer tasks fit than were "
        "wanted, memory is of those. On disk: of all that were wanted.",
    )


def latency_parts(report: Report) -> Iterator[tuple[str, Row]]:
    """Yields each thing whose latency was measured in the same rounds: its name, its figures."""
    base, task = scenario_of(report, "base"), scenario_of(report, "task")
    rows = task["rows"] if task else []
    if base is not None and not any("way" in row["of"] for row in rows):
        yield "no task", {"of": {}, "figures": base["figures"], "missing": base["missing"]}
    for row in rows:
        if "way" in row["of"]:
            yield str(row["of"]["way"]), row
        else:
            yield f"task {row['of'].get('task')}", row


def _latency(report: Report) -> Table:
    rows = []
    for title, part in latency_parts(report):
        figure = figure_of(part, "latency_ms")
        if not isinstance(figure, dict):
            continue
        spread = dict(figure)
        cells = [
            digits(float(value)) if isinstance(value := spread.get(key), int | float) else NONE
            for key in _LATENCY
        ]
        ratios = (text_of(part, f"{name}_ratio") for name in ("to_plain", "to_base"))
        cpu = number_of(part, "cpu_to_plain_ratio")
        rows.append(
            (title, *cells, *ratios, text_of(part, "cpu_ms"), NONE if cpu is None else f"{cpu:.3f}")
        )
    return Table(
        "Latency, ms",
        (
            *("", "p50", "p90", "p95", "p99", "trimmed mean"),
            *("over plain", "over no task", "CPU", "CPU over plain"),
        ),
        tuple(rows),
        "All of one process, in rounds that visit each once; ratios are medians over the rounds "
        "(10th to 90th percentile). CPU: processor time, which a busy machine moves less. Only a "
        "task's figures have the head and the checks of inputs in them.",
    )


def _swaps(report: Report) -> Table:
    swap = scenario_of(report, "swap")
    names = ("load_ms", "decode_ms", "cold_ms", "first_run_ms", "warm_ms")
    sizes = {str(task["task"]): task for task in report["tasks"]}
    rows = []
    for row in swap["rows"] if swap else ():
        name = str(row["of"].get("task"))
        decoded = sizes.get(name, {}).get("decoded_bytes")
        rows.append(
            (
                name,
                text_of(row, "file_bytes"),
                NONE if decoded is None else format_size(decoded),
                *(text_of(row, n) for n in names),
            )
        )
    return Table(
        "Swaps, median ms",
        ("task", "file", "decoded", "load", "decode", "cold", "first run", "warm"),
        tuple(rows),
        "load: read and check the file; cold: load, decode, activate; warm: activate a decoded "
        "task; first run: the run after a cold swap. Files are in the system's cache of pages.",
    )


def _writing(report: Report) -> Table:
    generate, batch = scenario_of(report, "generate"), scenario_of(report, "generate-batch")
    rows = []
    for row in generate["rows"] if generate else ():
        task = row["of"].get("task")
        token = figure_of(row, "token_ms")
        spread: dict[str, Any] = dict(token) if isinstance(token, dict) else {}
        rows.append(
            (
                "no task" if task is None else f"task {task}",
                text_of(row, "first_token_ms"),
                text_of(row, "prompt_tokens_per_s"),
                text_of(row, "tokens_per_s"),
                *(digits(float(spread[key])) if key in spread else NONE for key in _TOKEN),
                text_of(row, "token_cpu_ms"),
                text_of(row, "token_to_base_ratio"),
            )
        )
    if number_of(batch, "batch_ms") is not None:
        words = f"{text_of(batch, 'rows_count')} rows of {text_of(batch, 'tasks_count')} tasks"
        ms, ratio = text_of(batch, "batch_ms"), text_of(batch, "to_base_ratio")
        rows.append((words, NONE, NONE, NONE, ms, NONE, NONE, NONE, ratio))
    cold, swap = text_of(generate, "first_token_cold_ms"), text_of(generate, "cold_ms")
    after = text_of(generate, "first_token_after_swap_ms")
    return Table(
        "Writing text",
        (
            *("", "first token, ms", "prompt tokens a second", "tokens a second"),
            *("token p50, ms", "p95", "p99", "CPU of a token", "token over no task"),
        ),
        tuple(rows),
        f"Prompts of {text_of(generate, 'prompt_count')} tokens. First token of a new session: "
        f"{cold} ms; with a swap from the task's file before it: {after} ms, {swap} of them the "
        f"swap. A batch over one task in all rows: {text_of(batch, 'to_single_task_ratio')}.",
    )


def _writing_tasks(report: Report) -> Table:
    scenario = scenario_of(report, "generate-tasks")
    return Table(
        "Tasks that write, loaded",
        ("tasks", "memory (PSS)", "anonymous", "first token by the last, ms"),
        tuple(
            (
                str(row["of"]["tasks"]),
                *(text_of(row, name) for name in ("pss_bytes", "anonymous_bytes")),
                text_of(row, "first_token_ms"),
            )
            for row in (scenario["rows"] if scenario else ())
        ),
        f"Loaded tasks are coded; each adds {text_of(scenario, 'per_task_bytes')}. The first token "
        "is with the last task's decoding before it.",
    )


def _memory(report: Report) -> Table:
    rows = []
    for scenario in report["scenarios"]:
        if scenario["status"] == "done" and "rss_bytes" in scenario["figures"]:
            rows.append((scenario["title"], *(text_of(scenario, name) for name in _MEMORY)))
    return Table(
        "Memory of a process",
        ("", "RSS", "PSS", "USS", "anonymous", "peak RSS"),
        tuple(rows),
        "Anonymous: no file behind it. PSS and USS are lower where another program has the same "
        "libraries or base open.",
    )


def _growth(report: Report) -> Table:
    ways = [(title, scenario_of(report, name)) for name, title in WAYS]
    shown = [(title, scenario) for title, scenario in ways if scenario is not None]
    by_way = [
        {row["of"]["tasks"]: row for row in scenario["rows"] if "tasks" in row["of"]}
        for _, scenario in shown
    ]
    counts = sorted({int(count) for way in by_way for count in way})
    return Table(
        "Memory (PSS) as tasks grow",
        ("tasks", *(title for title, _ in shown)),
        tuple(
            (str(count), *(text_of(way.get(count), "pss_bytes") for way in by_way))
            for count in counts
        ),
    )


def _load(report: Report) -> Table:
    threads = scenario_of(report, "threads")
    rows = []
    for row in threads["rows"] if threads else ():
        (what, count), *_ = row["of"].items()
        rows.append(
            (
                f"{count} {what}" if count != 1 else f"1 {str(what).rstrip('s')}",
                text_of(row, "latency_ms"),
                text_of(row, "to_base_ratio"),
                text_of(row, "throughput_per_s"),
            )
        )
    for title, name in (("no task, back to back", "base"), ("a task, back to back", "task")):
        scenario = scenario_of(report, name)
        if number_of(scenario, "throughput_per_s") is not None:
            rows.append((title, NONE, NONE, text_of(scenario, "throughput_per_s")))
    every = scenario_of(report, "swap-every-request")
    for how, name in (("decoded", "request"), ("from its file", "cold_request")):
        if every is not None:
            ms, ratio = text_of(every, f"{name}_ms"), text_of(every, f"{name}_to_latency_ratio")
            rows.append((f"another task each time, {how}", ms, ratio, NONE))
    low, mixed = scenario_of(report, "memory-low"), scenario_of(report, "mixed-batch")
    if low is not None:
        ms, ratio = text_of(low, "latency_ms"), text_of(low, "to_usual_ratio")
        rows.append(("a task, memory=low", ms, ratio, NONE))
    if mixed is not None:
        words = f"{text_of(mixed, 'rows_count')} rows of {text_of(mixed, 'tasks_count')} tasks"
        ms = text_of(mixed, "batch_ms")
        rows.append((f"{words}, over one task", ms, text_of(mixed, "to_single_task_ratio"), NONE))
        rows.append((f"{words}, over one by one", ms, text_of(mixed, "to_one_by_one_ratio"), NONE))
    return Table(
        "Threads, callers, requests",
        ("", "ms", "over the same without", "texts a second"),
        tuple(rows),
        "Threads: of one session, a task over no task. Callers: programs' threads sharing one "
        "session, each with its own task. Requests: over a request for the task before.",
    )


def _starts(report: Report) -> Table:
    rows = []
    for name, figures in (
        ("imports", ("import_ms",)),
        ("start", ("process_ms", "import_ms", "session_ms", "first_run_ms", "cold_start_ms")),
    ):
        scenario = scenario_of(report, name)
        for figure in figures:
            found = figure_of(scenario, figure)
            if isinstance(found, dict):
                label = f"{name}: {figure[: -len('_ms')].replace('_', ' ')}"
                low, high = found.get("min", found["p50"]), found.get("p99", found["p50"])
                rows.append(
                    (
                        label,
                        format_value("_ms", found),
                        f"{format_value('', low)}–{format_value('', high)}",
                    )
                )
    return Table("From nothing to the first answer, ms", ("", "median", "range"), tuple(rows))


def _conditions(report: Report) -> Table:
    rows: list[tuple[str, ...]] = []
    for part in (report["noise"], report["conditions"]):
        for name in part["figures"]:
            rows.append((_CONDITIONS.get(name) or _plain_words(name), text_of(part, name)))
    for scenario in report["scenarios"]:
        if "page_bytes" in scenario["figures"]:
            rows.append(("memory of the page", text_of(scenario, "page_bytes")))
    energy = scenario_of(report, "task")
    if energy is not None and "energy_run_joules" in energy["figures"]:
        rows.append(("energy of a run, joules", text_of(energy, "energy_run_joules")))
    return Table("Conditions and noise", ("", ""), tuple(rows))


def _plain_words(name: str) -> str:
    return name.rpartition("_")[0].replace("_", " ")


def _checks(report: Report) -> Table:
    rows = [
        (f"{scenario['id']}: {check['message']}", "yes" if check["passed"] else "NO")
        for scenario in report["scenarios"]
        for check in scenario["checks"]
    ]
    conformance = report["conformance"]
    if conformance["status"] != "not_run":
        right = conformance["cases"] - len(conformance["failures"])
        found = f"conformance: {right} of {conformance['cases']} cases"
        rows.insert(0, (found, "NO" if conformance["failures"] else "yes"))
    for failure in conformance["failures"]:
        text = f"{failure['id']}: expected {failure['expected']}, found {failure['found']}"
        rows.append((text, "NO"))
    return Table("Checked", ("", "holds"), tuple(rows))


def _absent(report: Report) -> Table:
    rows: Sequence[tuple[str, ...]] = [
        (
            scenario["title"],
            scenario["status"].replace("_", " "),
            f"{scenario['reason']['message']} [{scenario['reason']['code']}]",
        )
        for scenario in report["scenarios"]
        if scenario["reason"] is not None
    ]
    return Table("Without figures", ("", "", "why"), tuple(rows))
