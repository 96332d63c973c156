"""A device that has nothing but Python: everything is brought, as wheels, and taken away again."""

import venv
from pathlib import Path

from osd_edge.data.progress import silent
from osd_edge.device_tests.devices import open_device
from osd_edge.device_tests.measure import keep_nothing
from osd_edge.device_tests.plan import Plan
from tests.support.sshd import running_sshd


def test_wheels_are_brought_to_a_bare_python(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    for name in ("server", "device"):
        (tmp_path / name).mkdir()
    plan = Plan(scenarios=("imports",), tokens=8).quick()
    with running_sshd(tmp_path / "server") as sshd:
        options = (
            f"python={tmp_path / 'venv' / 'bin' / 'python'}",
            f"folder={tmp_path / 'device'}",
        )
        report = open_device(f"ssh:{sshd.spec(*options)}").run(plan, silent, keep_nothing)
    assert report["conformance"]["status"] == "passed"
    assert report["verdict"]["status"] == "passed"
    assert list((tmp_path / "device").iterdir()) == []
