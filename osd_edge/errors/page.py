"""Makes docs/errors.md, the page of all refusals, from the table of codes.

python -m osd_edge.errors.page > docs/errors.md
"""

import itertools

from osd_edge.errors.codes import Code

_HEAD = """# Refusals

Every refusal is an `OsdEdgeError` with a stable `code`; the command line prints its message with \
the code in brackets and exits with 1. This page is made from the table in \
`osd_edge/errors/codes.py` by `make docs`. Where the codes belong to a format, its own page has \
the order of the checks: [bundle-format.md](bundle-format.md), \
[base-package.md](base-package.md), [bench-schema.md](bench-schema.md); codes of devices are told \
in [emulated-device.md](emulated-device.md).
"""
_TITLES = {
    "bundle": "Task bundles: `BundleError`",
    "base": "Base packages: `BaseError`",
    "model": "Checkpoints and adapters: `ModelError`",
    "data": "Files of examples: `DataError`",
    "budget": "Budgets: `BudgetError`",
    "task": "Tasks of a session: `TaskError`",
    "conversation": "Conversations: `ConversationError`",
    "api": "Requests to `osd-edge api`: `ApiError`",
    "input": "Arguments and run inputs: `InputError`",
    "output": "Files to be written: `OutputError`",
    "report": "Reports of a measurement: `ReportError`",
    "device": "Devices that are measured: `DeviceError`",
}
_TAIL = """
A report of a measurement also gives codes of `device.` where a scenario has no figures. The \
JavaScript runtime gives the same codes. Those of the phone page alone are in \
[phones.md](phones.md).
"""


def page() -> str:
    """The page as Markdown: a table for each kind of code, in the order of the table of codes."""
    lines = [_HEAD]
    for kind, codes in itertools.groupby(Code, lambda code: code.kind):
        lines += [f"## {_TITLES[kind]}", "", "| Code | When |", "|---|---|"]
        lines += [f"| `{code}` | {code.meaning} |" for code in codes]
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n" + _TAIL


if __name__ == "__main__":
    print(page(), end="")
