"""A diagnosis: what is declared and installed, what commands need, what machines tell."""

import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from osd_edge.device_tests.doctor import names, packages, tiny_graphs
from osd_edge.device_tests.doctor.commands import (
    COMMANDS,
    CommandState,
    commands,
    optional_packages,
)
from osd_edge.device_tests.doctor.diagnosis import diagnose
from osd_edge.device_tests.doctor.packages import Package, declared_packages, plain
from osd_edge.device_tests.doctor.surroundings import features_in, surroundings
from osd_edge.device_tests.doctor.words import describe

REQUIREMENTS = [
    "numpy>=1.26",
    'no.such_package<2,>=1; extra == "export"',
    'click>=99; extra == "text"',
    'osd-edge[export,text]; extra == "demo"',
    'osd-edge[demo]; extra == "dev"',
    'tokenizers; python_version < "3" and extra == "text"',
    'onnx>=1; python_version >= "3" and extra == "text"',
]


@pytest.fixture
def without_packaging(monkeypatch: pytest.MonkeyPatch) -> None:
    version_of = packages.version_of
    monkeypatch.setattr(
        packages, "version_of", lambda name: None if name == "packaging" else version_of(name)
    )


def test_what_is_declared_is_compared_with_what_is_installed() -> None:
    numpy, click_, onnx_ = (metadata.version(name) for name in ("numpy", "click", "onnx"))
    assert declared_packages(REQUIREMENTS) == (
        Package("numpy", (), ">=1.26", numpy, True),
        Package("no.such_package", ("export", "demo", "dev"), "<2,>=1", None, None),
        Package("click", ("text", "demo", "dev"), ">=99", click_, False),
        Package("onnx", ("text", "demo", "dev"), ">=1", onnx_, True),
    )


@pytest.mark.usefixtures("without_packaging")
def test_without_packaging_versions_are_listed_alone() -> None:
    found = declared_packages(REQUIREMENTS) or ()
    assert [(package.name, package.fits) for package in found][:3] == [
        ("numpy", None),
        ("no.such_package", None),
        ("click", None),
    ]
    assert found[0].installed == metadata.version("numpy")


def test_the_list_is_that_of_the_installed_project() -> None:
    declared = {plain(package.name) for package in declared_packages() or ()}
    assert {"numpy", "onnxruntime", "click", "torch", "segno", "tokenizers"} <= declared
    assert "osd-edge" not in declared


def test_a_project_that_is_not_installed_declares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert declared_packages() is None
    diagnosis = diagnose()
    states = {command.name: command.runs for command in diagnosis.commands}
    assert states["export base"] is None
    assert "osd-edge is not installed here" in describe(diagnosis)
    assert diagnosis.failure is None  # of the device's side, all was tried


def test_needs_are_of_what_the_project_declares() -> None:
    declared = declared_packages() or ()
    extras = {"", *(extra for package in declared for extra in package.extras)}
    assert {needs.extra for needs in COMMANDS} <= extras
    spared = {name for needs in COMMANDS for name in needs.without}
    assert spared <= {plain(package.name) for package in declared}


def test_a_command_says_what_it_lacks() -> None:
    declared = (
        Package("numpy", (), ">=2", "1.26", False),
        Package("onnxruntime", (), ">=1", None, None),
        Package("torch", ("export", "demo"), ">=2.5", None, None),
        Package("Scikit_Learn", ("export", "demo"), ">=1.4", None, None),
        Package("tokenizers", ("text", "export", "demo"), ">=0.2", "0.22", True),
    )
    states = {x.name: x for x in commands(declared, ["onnxruntime", "int4"], False)}
    assert states["inspect"] == CommandState(
        "inspect", True, (), ("numpy 1.26",), (), "pip install 'osd-edge'"
    )
    assert states["export task"].missing == ("onnxruntime", "torch")
    assert states["export task"].hindered == ("onnxruntime does not work",)
    assert states["export task"].install == "pip install 'osd-edge[export]'"
    assert states["compare"].missing == ("onnxruntime", "torch", "Scikit_Learn")
    assert states["run"].missing == ("onnxruntime",)
    assert states["serve"].runs is False and "phone page" in states["serve"].hindered[0]


def test_a_session_that_gives_wrong_answers_hinders_what_has_one() -> None:
    states = {x.name: x.runs for x in commands((), ["session"], True)}
    assert [name for name, runs in states.items() if not runs] == [
        *("api", "bench", "chat", "demo", "evaluate", "export base", "run")
    ]


def test_an_optional_package_comes_with_the_extra_that_has_it() -> None:
    declared = (
        Package("segno", ("serve", "dev"), "", None, None),
        Package("peft", ("dev",), "", None, None),
    )
    how = {package.name: package.install for package in optional_packages(declared)}
    assert how["segno"] == "pip install 'osd-edge[serve]'"
    assert how["peft"] == "pip install peft"
    assert how["onnxscript"] == "pip install onnxscript"


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_tiny_graphs_are_onnx_and_compute_their_layer(name: str) -> None:
    graph = {"int8": tiny_graphs.int8_graph, "int4": tiny_graphs.int4_graph}[name]()
    x = np.array([{"int8": tiny_graphs.INT8_X, "int4": tiny_graphs.INT4_X}[name]], np.float32)
    expected = x @ np.array(tiny_graphs.WEIGHT, np.float32).T
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], expected)
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=name == "int8")  # it knows no shapes of int4
    if name == "int8":  # onnx's own evaluator lacks the operator of int4
        evaluated: Any = ReferenceEvaluator(model).run(None, {"x": x})
        np.testing.assert_array_equal(evaluated[0], expected)


def test_a_machine_is_told_of_without_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    uname = platform.uname_result("Linux", "a-host-of-mine", "6.1.0-rpi", "#1", "aarch64")
    monkeypatch.setattr(platform, "uname", lambda: uname)
    told = asdict(surroundings())
    assert told["architecture"] == "aarch64" and told["system"].startswith("Linux 6.1.0-rpi")
    assert 0 < told["memory_available_bytes"] <= told["memory_bytes"]
    assert 0 < told["cpus_usable"] <= told["cpus"]
    assert "a-host-of-mine" not in str(told)


def test_features_are_those_that_matter() -> None:
    assert features_in("flags\t\t: fpu sse4_1 avx2 avx512_vnni\nflags: avx") == (
        *("sse4_1", "avx2", "avx512_vnni"),
    )
    assert features_in("Features\t: fp asimd asimddp crc32") == ("asimd", "asimddp")
    assert features_in("processor: 0\n") is None


@pytest.mark.parametrize(
    ("home", "text", "shown"),
    [
        ("/home/alice", "/home/alice/x and /home/alice", "~/x and ~"),
        ("/home/alice", "/home/alice2/x", "/home/alice2/x"),
        ("/home/alice", "/mnt/alice/x, malice/alice", "/mnt/USER/x, malice/USER"),
        ("/", "/usr/bin/python", "/usr/bin/python"),
    ],
)
def test_names_are_taken_out(
    home: str, text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    monkeypatch.setattr(Path, "home", lambda: Path(home))
    assert names.without_names(text) == shown
