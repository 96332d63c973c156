"""`osd-edge serve`: the phone page with a base and its tasks, for a browser near by."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from osd_edge.cli.bundles import bundles_option
from osd_edge.cli.options import base_option, example, given_options, host_option, port_option
from osd_edge.data.files import check_outputs
from osd_edge.data.sizes import format_size

if TYPE_CHECKING:
    from osd_edge.formats.named_bundle import NamedBundle


@click.command(
    epilog=example(
        "osd-edge serve --base minilm --bundle mr.osd.safetensors --host 0.0.0.0",
        "osd-edge serve --base minilm --bundle mr.osd.safetensors --export site",
    )
)
@base_option
@bundles_option(required=True)
@host_option
@port_option(8765)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Name by which browsers reach it, as of its certificate; others than its address are "
    "refused. NAME:PORT behind a proxy. Repeatable.",
)
@click.option(
    "--cert",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TLS certificate (PEM): over a network, a phone keeps a page offline only with it.",
)
@click.option("--key", type=click.Path(path_type=Path), metavar="FILE", help="Its private key.")
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The built page, where it is not the installed one.",
)
@click.option(
    "--export",
    "site",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Serve nothing: write all of it into a new folder, for any web server of files.",
)
def serve(
    base: Path,
    bundles: "tuple[NamedBundle, ...]",
    host: str,
    port: int,
    names: tuple[str, ...],
    cert: Path | None,
    key: Path | None,
    page: Path | None,
    site: Path | None,
) -> None:
    """Serve a page that runs BASE and its tasks in a phone's browser, offline after a visit."""
    from osd_edge.serve.catalogue import served_files
    from osd_edge.serve.page import page_folder
    from osd_edge.serve.server import Endpoint, PageServer
    from osd_edge.serve.site import write_site

    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    if site is not None and (vain := given_options("host", "port", "names", "cert", "key")):
        raise click.UsageError(f"--export serves nothing: leave out {', '.join(vain)}")
    certificate = None if cert is None or key is None else (cert, key)
    built = page_folder(page)
    check_outputs({"--export": site}, (built, base, *(bundle.path for bundle in bundles)))
    entries = served_files(built, base, bundles)
    if site is not None:
        write_site(entries, site)
        size = sum(entry.size for path, entry in entries.items() if path != "/")
        click.echo(f"{site}: page, base and {_counted(len(bundles))}, {format_size(size)}")
        click.echo(
            "Any web server of files serves it, over https to phones; docs/phones.md has the "
            "headers that it should send.",
            err=True,
        )
        return
    with PageServer(entries, Endpoint(host, port, certificate, names)) as server:
        address = server.address
        size = sum(
            entry.size for path, entry in entries.items() if path.startswith(("/base/", "/tasks/"))
        )
        click.echo(
            f"{address}  base and {_counted(len(bundles))}, {format_size(size)}; Ctrl+C stops"
        )
        try:
            click.echo(qr_code(address))
        except ModuleNotFoundError:
            click.echo("(a QR code of it stands here after: pip install 'osd-edge[serve]')")
        for line in how_to_reach(host, address, secure=address.startswith("https:")):
            click.echo(line, err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")


def _counted(tasks: int) -> str:
    return f"{tasks} task{'' if tasks == 1 else 's'}"


def how_to_reach(host: str, address: str, *, secure: bool) -> list[str]:
    """Says what a phone needs to open `address` and to keep the page, a line for each need."""
    from osd_edge.serve.addresses import is_loopback

    parts = urlsplit(address)
    cable = f"'adb reverse tcp:{parts.port} tcp:{parts.port}'"
    if is_loopback(host):
        return [
            "Only this machine reaches it: for a phone give --host 0.0.0.0, or connect one with a "
            f"cable and run {cable}, after which the address holds there too (docs/phones.md)."
        ]
    lines = []
    if is_loopback(parts.hostname or ""):
        lines.append("This machine is in no network that a phone could reach.")
    if not secure:
        lines.append(
            "Over plain http a phone cannot keep the page for offline use: give --cert and --key, "
            f"or serve on loopback, run {cable} and open http://localhost:{parts.port}/ on the "
            "phone (docs/phones.md)."
        )
    return lines


def qr_code(text: str) -> str:
    """Draws a QR code of `text` for a terminal."""
    import io

    import segno

    out = io.StringIO()
    segno.make(text, error="l").terminal(out, compact=True)
    return out.getvalue().rstrip("\n")
