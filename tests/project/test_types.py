"""The type checker's configuration: no module of the four packages escapes it."""

import io
from pathlib import Path

from mypy.config_parser import parse_config_file
from mypy.find_sources import create_source_list
from mypy.fscache import FileSystemCache
from mypy.options import Options

from tests.project.rooms import PROJECT, read_sources


def test_types_of_every_module_are_checked() -> None:
    """Its `files` reach three of the packages through the links in osd_edge/ alone.

    mypy names a module by the folders that its file is in, and knows no package whose parts lie
    in folders of other names; a checkout without the links would fail `make lint`, or this test.
    """
    assert set(read_sources()) - _checked_modules(PROJECT) == set()


def test_a_package_that_is_not_reached_is_found(tmp_path: Path) -> None:
    for folder in ("osd_edge", "exporters"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text('[tool.mypy]\nfiles = ["osd_edge"]\n')
    missing = set(read_sources(tmp_path)) - _checked_modules(tmp_path)
    assert missing == {"osd_edge.exporters"}


def _checked_modules(project: Path) -> set[str]:
    options = Options()
    parse_config_file(
        options, lambda: None, str(project / "pyproject.toml"), io.StringIO(), io.StringIO()
    )
    assert options.files
    files = [str(project / file) for file in options.files]
    return {source.module for source in create_source_list(files, options, FileSystemCache())}
