"""Codes are part of the interface: one table, which raises, docs and JavaScript are held to."""

import ast
import pickle
import re
from pathlib import Path

import pytest

from osd_edge import errors
from osd_edge.errors import BundleError, Code, DeviceError, ModelError, refusal_of
from osd_edge.errors.page import page

PROJECT = Path(__file__).parents[2]
CLASSES = {
    name: kind
    for name in errors.__all__
    if isinstance(kind := getattr(errors, name), type) and issubclass(kind, errors.OsdEdgeError)
}


def sources() -> list[Path]:
    folders = ("osd_edge", "exporters", "runtime", "device_tests")
    return [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]


def members(node: ast.AST) -> set[str]:
    """Names of the members of Code in a piece of source."""
    return {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute)
        and isinstance(part.value, ast.Name)
        and part.value.id == "Code"
    }


def test_every_code_of_the_table_is_given_somewhere_and_none_is_a_plain_text() -> None:
    used = set()
    texts = []
    for path in sources():
        tree = ast.parse(path.read_text("utf-8"))
        used |= members(tree)
        if path.name not in ("codes.py", "agent.py"):  # the agent goes to a device alone
            texts += [
                f"{path}:{node.lineno}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and node.value in list(Code)
                and node.value != "report.json"  # a file's name
            ]
    assert not texts
    agent = (PROJECT / "device_tests" / "devices" / "agent.py").read_text("utf-8")
    used |= {code.name for code in Code if f'"{code}"' in agent}
    assert {code.name for code in Code} - used == set()


def test_a_raise_names_a_code_of_its_class() -> None:
    checked = 0
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            for name in members(node.args[0]) if node.func.id in CLASSES else ():
                assert Code[name].kind == CLASSES[node.func.id].kind, f"{path}:{node.lineno}"
                checked += 1
    assert checked > 250


def test_a_class_refuses_a_code_of_another() -> None:
    with pytest.raises(AssertionError, match=r"ModelError does not carry bundle\.base"):
        ModelError(Code.BUNDLE_BASE, "not of a model")


def test_the_page_of_refusals_is_made_from_the_table() -> None:
    assert (PROJECT / "docs" / "errors.md").read_text("utf-8") == page()


@pytest.mark.parametrize(
    ("name", "kind", "complete"),
    [
        ("bundle-format.md", "bundle", True),
        ("base-package.md", "base", True),
        ("bench-schema.md", "report", True),
        ("emulated-device.md", "device", False),
    ],
)
def test_the_page_of_a_format_has_the_codes_of_the_table(
    name: str, kind: str, complete: bool
) -> None:
    rows = re.findall(r"^\| (`.*?) \|", (PROJECT / "docs" / name).read_text("utf-8"), re.MULTILINE)
    told = {code for row in rows for code in re.findall(rf"`({kind}\.[a-z-]+)`", row)}
    table = {code.value for code in Code if code.kind == kind}
    assert told <= table
    assert not complete or told == table


def test_the_javascript_runtime_gives_codes_of_the_table() -> None:
    found = set()
    for path in sorted((PROJECT / "runtime" / "web" / "src").glob("*.ts")):
        source = path.read_text("utf-8")
        for kind in ("bundle", "base", "input", "task"):
            given = rf'\b(?:{kind}Error|check{kind.title()})\(\s*"([a-z-]+)"'
            for reason in re.findall(given, source):
                found.add(f"{kind}.{reason}")
        found |= set(re.findall(r'Error\(\s*"((?:bundle|base|input|task)\.[a-z-]+)"', source))
    assert len(found) > 30
    assert found - {code.value for code in Code} == set()


def test_a_refusal_crosses_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(BundleError(Code.BUNDLE_DIGEST, "damaged")))
    assert (type(error), error.code, str(error)) == (BundleError, Code.BUNDLE_DIGEST, "damaged")


def test_a_refusal_from_afar_is_of_the_class_of_its_code() -> None:
    assert isinstance(refusal_of("bundle.base", "another base"), BundleError)
    unknown = refusal_of("future.code", "what is not known yet")
    assert isinstance(unknown, DeviceError) and "future.code" in str(unknown)
    assert unknown.code == Code.DEVICE_ANSWER
