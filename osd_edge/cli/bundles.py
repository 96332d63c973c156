"""The bundles that a command is given: the option `--bundle`, and loading them into a session."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from osd_edge.cli.options import OptionDecorator
from osd_edge.formats.named_bundle import NamedBundle, named_bundle

if TYPE_CHECKING:
    from osd_edge.runtime import EdgeSession


class BundleParam(click.ParamType[NamedBundle]):
    """`FILE` or `NAME=FILE`; a shell completes files."""

    name = "bundle"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> NamedBundle:
        """Gives the file and the name."""
        return value if isinstance(value, NamedBundle) else named_bundle(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leaves files to the shell, which knows them."""
        return [CompletionItem(incomplete, type="file")]


def bundles_option(help_: str = "", *, required: bool = False) -> OptionDecorator:
    """Makes the option of several task bundles; `help_` is what to add to its help."""
    words = "A task bundle, and a name in the place of its task's own; may be repeated."
    return click.option(
        "--bundle",
        "bundles",
        type=BundleParam(),
        multiple=True,
        required=required,
        metavar="[NAME=]FILE",
        help=f"{words} {help_}".rstrip(),
    )


def _only_one(
    context: click.Context, option: click.Parameter, given: tuple[NamedBundle, ...]
) -> NamedBundle:
    """Gives the one bundle; of two click itself would take the last without a word."""
    if len(given) > 1:
        raise click.BadParameter(f"expected one, found {len(given)}", context, option)
    return given[0]


bundle_option: OptionDecorator = click.option(
    "--bundle",
    type=BundleParam(),
    multiple=True,
    callback=_only_one,
    required=True,
    metavar="[NAME=]FILE",
    help="Task bundle, and a name in the place of its task's own.",
)


def load_bundles(session: "EdgeSession", bundles: Iterable[NamedBundle]) -> list[str]:
    """Loads the bundles in their order, and gives the names of their tasks.

    Raises what `EdgeSession.load` raises.
    """
    return [session.load(bundle.path, bundle.name) for bundle in bundles]
