"""The built phone page: where it is, and the addresses of its files."""

import importlib.util
from pathlib import Path

from osd_edge.data.arguments import as_path
from osd_edge.data.files import kind_at
from osd_edge.errors import Code, InputError
from osd_edge.serve.served_file import ServedFile, served_file

BUILD_COMMAND = "make web-page"


def page_folder(given: str | Path | None) -> Path:
    """Finds the folder of the built page: `given`, or the one inside the package.

    Raises InputError `input.page` where it has not been built.
    """
    if given is not None:
        folder = as_path(given, "page")
    else:
        spec = importlib.util.find_spec("osd_edge.runtime")  # found, not imported
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        folder = Path(folders[0], "web", "page") if folders else Path("page")
    if kind_at(folder / "index.html") != "file":
        raise InputError(
            Code.INPUT_PAGE,
            f"the page is not built: expected it in {folder}; run '{BUILD_COMMAND}' in the "
            "source, which needs Node 20, and install again, or name its folder "
            "runtime/web/page with --page",
        )
    return folder


def page_files(page: Path) -> dict[str, ServedFile]:
    """Lists the addresses of all files in folder `page` but hidden ones; `/` is its index.html.

    Raises InputError `input.page` where a file cannot be read, or is a link that leads out.
    """
    depth = len(page.parts)
    try:
        inside = page.resolve(strict=True)
        entries = {}
        for path in sorted(page.rglob("*")):
            if any(part.startswith(".") for part in path.parts[depth:]):
                continue
            if path.is_dir():
                if path.is_symlink():  # which is not looked into
                    raise _leads_out(path)
                continue
            if not path.is_file():
                continue
            entry = served_file(path)
            # The file that will be opened is asked, not the link, which may change.
            if not (isinstance(entry.source, Path) and entry.source.is_relative_to(inside)):
                raise _leads_out(path)
            entries[f"/{path.relative_to(page).as_posix()}"] = entry
    except OSError as error:
        raise InputError(
            Code.INPUT_PAGE, f"cannot read the page: {error}; build it again with '{BUILD_COMMAND}'"
        ) from error
    entries["/"] = entries["/index.html"]
    return entries


def _leads_out(path: Path) -> InputError:
    return InputError(
        Code.INPUT_PAGE,
        f"{path} is a link to a folder, or leads out of the page's: put the files there",
    )
