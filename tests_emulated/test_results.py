"""An arm64 processor gives the results that x86-64 gives: decoded bits the same, answers close."""

import json
from pathlib import Path

import numpy as np
import pytest

from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.device_tests.emulated import user_mode
from osd_edge.device_tests.emulated.build import EmulatedMachine
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.runtime import EdgeSession

_TEXT = "how far is it from the station to the river"
_CONFORMANCE = """
import json
from osd_edge.device_tests.conformance.checks import run_conformance
print(json.dumps(run_conformance()))
"""
_ANSWER = """
import json, sys
from pathlib import Path
from osd_edge.formats.bundle.reader import read_bundle_file
from osd_edge.device_tests.conformance.hashes import decoded_sha256
from osd_edge.runtime import EdgeSession
base, text, *bundles = sys.argv[1:]
session = EdgeSession(base, threads=1)
session.load(bundles[0], "task")
(answer,) = session.classify([text], task="task")
print(json.dumps({
    "scores": answer.scores,
    "digests": [decoded_sha256(read_bundle_file(Path(path))) for path in bundles],
}))
"""


@pytest.mark.parametrize("cpu", [user_mode.PI_4, user_mode.PI_5])
def test_conformance(machine: EmulatedMachine, cpu: str) -> None:
    ran = user_mode.run(machine, ["-c", _CONFORMANCE], cpu=cpu)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["status"] == "passed", found["failures"]
    assert found["cases"] > 100


def test_a_text_gets_its_answer_and_every_bundle_decodes_to_the_same_bits(
    machine: EmulatedMachine, minilm: tuple[Path, list[Path]]
) -> None:
    base, bundles = minilm
    ran = user_mode.run(machine, ["-c", _ANSWER, str(base), _TEXT, *map(str, bundles)])
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["digests"] == [decoded_sha256(read_bundle_file(path)) for path in bundles]
    assert len(set(found["digests"])) == len(bundles)
    session = EdgeSession(base, threads=1)
    session.load(bundles[0], "task")
    (answer,) = session.classify([_TEXT], task="task")
    assert found["scores"].keys() == answer.scores.keys()
    np.testing.assert_allclose(
        list(found["scores"].values()), list(answer.scores.values()), atol=1e-4
    )
