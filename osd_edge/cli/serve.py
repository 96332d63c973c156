"""`osd-edge serve`: the phone page with a base and its tasks, for a browser near by."""

import importlib.util
import socket
from pathlib import Path
from urllib.parse import urlsplit

import click

from osd_edge.cli.options import base_option, bundles_option
from osd_edge.data.sizes import format_size
from osd_edge.errors import Code, InputError

BUILD_COMMAND = "make web-page"


@click.command()
@base_option
@bundles_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to serve at; 0.0.0.0 is every one of this machine.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0: any free one.",
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
def serve(
    base: Path,
    bundles: tuple[Path, ...],
    host: str,
    port: int,
    cert: Path | None,
    key: Path | None,
    page: Path | None,
) -> None:
    """Serve a page that runs BASE and its tasks in a phone's browser, offline after a visit."""
    from osd_edge.serve.server import PageServer, site_entries

    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    certificate = None if cert is None or key is None else (cert, key)
    entries = site_entries(page_folder(page), base, bundles)
    with PageServer(entries, host, port, certificate) as server:
        scheme = "http" if certificate is None else "https"
        address = page_address(scheme, host, server.server_address[1])
        count = len(bundles)
        size = sum(
            entry.size for path, entry in entries.items() if path.startswith(("/base/", "/tasks/"))
        )
        click.echo(f"{address}  base and {count} tasks, {format_size(size)}; Ctrl+C stops")
        try:
            click.echo(qr_code(address))
        except ModuleNotFoundError:
            click.echo("(a QR code of it stands here after: pip install 'osd-edge[serve]')")
        for line in how_to_reach(host, address, secure=certificate is not None):
            click.echo(line, err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("stopped")


def how_to_reach(host: str, address: str, *, secure: bool) -> list[str]:
    """What a phone needs besides `address` to open it and to keep the page, a line for each."""
    from osd_edge.serve.server import is_loopback

    place = urlsplit(address)
    cable = f"'adb reverse tcp:{place.port} tcp:{place.port}'"
    if is_loopback(host):
        return [
            "Only this machine reaches it: for a phone give --host 0.0.0.0, or connect one with a "
            f"cable and run {cable}, after which the address holds there too (docs/phones.md)."
        ]
    lines = []
    if is_loopback(place.hostname or ""):
        lines.append("This machine is in no network that a phone could reach.")
    if not secure:
        lines.append(
            "Over plain http a phone cannot keep the page for offline use: give --cert and --key, "
            f"or serve on loopback, run {cable} and open http://localhost:{place.port}/ on the "
            "phone (docs/phones.md)."
        )
    return lines


def page_folder(given: Path | None) -> Path:
    """The folder of the built page: `given`, or the one inside the package.

    Raises InputError `input.page` where it has not been built.
    """
    folder = given
    if folder is None:
        spec = importlib.util.find_spec("osd_edge.runtime")  # found, not imported
        places = [] if spec is None else list(spec.submodule_search_locations or [])
        folder = Path(places[0], "web", "page") if places else Path("page")
    if not (folder / "index.html").is_file():
        raise InputError(
            Code.INPUT_PAGE,
            f"the page is not built: expected it in {folder}; run '{BUILD_COMMAND}' in the "
            "source, which needs Node 20, and install again, or name its folder "
            "runtime/web/page with --page",
        )
    return folder


def page_address(scheme: str, host: str, port: int) -> str:
    """The address to open; for a wildcard, the one that this machine has in its network."""
    if host in ("", "0.0.0.0", "::"):
        host = network_address(socket.AF_INET6 if host == "::" else socket.AF_INET)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def network_address(family: socket.AddressFamily) -> str:
    """This machine's address as others see it; asks the system's routes and sends nothing."""
    outside = ("2001:db8::1", 9) if family == socket.AF_INET6 else ("192.0.2.1", 9)
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(outside)  # of a datagram socket: no packet leaves
            return str(probe.getsockname()[0])
    except OSError:
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"


def qr_code(text: str) -> str:
    """A QR code of `text` for a terminal."""
    import io

    import segno

    out = io.StringIO()
    segno.make(text, error="l").terminal(out, compact=True)
    return out.getvalue().rstrip("\n")
