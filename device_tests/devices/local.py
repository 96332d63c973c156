"""The driver `--device local`: this machine."""

from osd_edge.data.progress import Progress
from osd_edge.device_tests.measure import Keep, measure
from osd_edge.device_tests.plan import Plan
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import Code, InputError


class LocalDevice:
    """Measures this machine, in processes of its own."""

    def run(self, plan: Plan, progress: Progress, keep: Keep) -> Report:
        """Measures `plan` as `measure` does."""
        return measure(plan, progress=progress, keep=keep)


def open_device(rest: str) -> LocalDevice:
    """Opens the device of `--device local`, which takes nothing after it."""
    if rest:
        raise InputError(Code.INPUT_DEVICE, f"expected --device local, found 'local:{rest[:40]}'")
    return LocalDevice()
