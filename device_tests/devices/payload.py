"""Lays out what a driver copies to a device, and judges the report that comes back.

On the device there is one folder: `base/`, `bundles/0/…` and so on, each bundle in a folder of
its own, since two may bear one name.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from osd_edge.device_tests.plan import Plan, check_plan
from osd_edge.device_tests.report.schema import Report
from osd_edge.errors import BaseError, BundleError, Code, DeviceError, refusal_of
from osd_edge.formats.named_bundle import named_bundle

REPORT = "report.json"


def files_for(plan: Plan) -> Iterator[tuple[Path, PurePosixPath]]:
    """Lists each file that `plan` needs, and where it goes below the device's folder.

    Raises InputError, BaseError `base.missing`, BundleError `bundle.missing` where one is not here.
    """
    check_plan(plan)
    if plan.base is not None:
        base = Path(plan.base)
        if not base.is_dir():
            raise BaseError(
                Code.BASE_MISSING,
                f"{base} is no folder: expected a base package, made by 'osd-edge export base'",
            )
        for path in sorted(base.iterdir()):
            if path.is_file():
                yield path, PurePosixPath("base", path.name)
    for number, path in enumerate(named_bundle(given).path for given in plan.bundles):
        if not path.is_file():
            raise BundleError(
                Code.BUNDLE_MISSING,
                f"{path} is no file: expected a task bundle, made by 'osd-edge export task'",
            )
        yield path, PurePosixPath("bundles", str(number), path.name)


def module_arguments(plan: Plan, folder: str, out: str) -> list[str]:
    """Makes the words after `python3` on a device: it reads below `folder`, writes below `out`."""
    base = None if plan.base is None else f"{folder}/base"
    bundles = []
    for number, bundle in enumerate(map(named_bundle, plan.bundles)):
        named = "" if bundle.name is None else f"{bundle.name}="
        bundles.append(f"{named}{folder}/bundles/{number}/{bundle.path.name}")
    words = ["-m", "osd_edge.device_tests", "--json", f"{out}/{REPORT}"]
    return words + plan.arguments(base, bundles, scratch=out)


def finished(report: Report | None, why_not: str) -> Report:
    """Returns the report, where the run came to its end.

    Raises the device's own refusal where it refused to measure, or DeviceError
    `device.broken-off` where the run ended before: `why_not` says how.
    """
    refused = None if report is None else report.get("refused")
    if refused is not None:
        raise refusal_of(refused["code"], f"on the device: {refused['message']}")
    # Not the verdict: what has failed before the end makes it `failed`.
    if (
        report is None
        or any(scenario["status"] == "not_reached" for scenario in report["scenarios"])
        or report["verdict"]["status"] == "incomplete"
    ):
        raise broken_off(report, why_not)
    return report


def broken_off(report: Report | None, why: str) -> DeviceError:
    """Makes the refusal `device.broken-off`, which says what is kept of the run."""
    if report is None:
        return DeviceError(Code.DEVICE_BROKEN_OFF, f"{why}; there are no results")
    done = sum(scenario["status"] != "not_reached" for scenario in report["scenarios"])
    return DeviceError(
        Code.DEVICE_BROKEN_OFF,
        f"{why}; results of {done} of {len(report['scenarios'])} scenarios are kept",
    )
