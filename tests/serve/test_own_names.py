"""Names that a server answers to: a web page elsewhere, whose name was made to lead here, gets
nothing, whatever the address that is served at.
"""

import pytest

from osd_edge.errors import InputError
from osd_edge.serve.own_names import OwnNames
from osd_edge.serve.served_file import served_file
from osd_edge.serve.server import Endpoint, PageServer
from tests.serve.serving import get, running

PAGE = {"/": served_file(b"secret")}
REFUSED = (
    421,
    b"This server does not go by that name. Open the address that 'osd-edge serve' printed, or "
    b"start it with --name and the name that you use.\n",
)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_names_of_others_are_refused_at_every_address(host: str) -> None:
    with running(PAGE, Endpoint(host, 0)) as server:
        port = server.server_address[1]
        for own in (
            f"127.0.0.1:{port}",
            f"localhost:{port}",
            f"LocalHost.:{port}",
            f"[::1]:{port}",
        ):
            assert get(server, "/", Host=own)[::2] == (200, b"secret")
        for other in (
            f"rebound.example:{port}",
            f"127.0.0.1.example:{port}",
            f"localhost.example:{port}",
            f"192.0.2.7:{port}",
            f"0.0.0.0:{port}",
            f"2130706433:{port}",
            f"[::]:{port}",
            f"127.0.0.1:{port + 1}",
            f"127.0.0.1:{port}:{port}",
            f"user@127.0.0.1:{port}",
            f"127.0.0.1:{port}/",
            "127.0.0.1",
            "localhost",
            "",
        ):
            assert get(server, "/", Host=other)[::2] == REFUSED, other


def test_a_name_that_it_was_told_is_its_own() -> None:
    names = ("Workstation.example", "phones.example:443", "192.0.2.7")
    with running(PAGE, Endpoint("0.0.0.0", 0, names=names)) as server:
        port = server.server_address[1]
        assert server.address == f"http://workstation.example:{port}/"
        for own in (f"workstation.example:{port}", "phones.example", "phones.example:443"):
            assert get(server, "/", Host=own)[0] == 200
        assert get(server, "/", Host=f"192.0.2.7:{port}")[0] == 200
        for other in ("workstation.example", f"phones.example:{port}", f"example:{port}"):
            assert get(server, "/", Host=other)[::2] == REFUSED


def test_the_address_to_open_is_the_first_name() -> None:
    for names, address in [
        ((), "http://127.0.0.1:{}/"),
        (("localhost",), "http://localhost:{}/"),
        (("phones.example:443",), "https://phones.example:443/"),
        (("[fd00::7]",), "http://[fd00::7]:{}/"),
    ]:
        with PageServer({}, Endpoint("127.0.0.1", 0, names=names)) as server:
            assert server.address == address.format(server.server_address[1])


def test_an_address_is_own_where_the_connection_came_to_it() -> None:
    names = OwnNames((), 8765)
    for host, arrived_at in [
        ("192.168.1.2:8765", "192.168.1.2"),
        ("192.168.1.2:8765", "::ffff:192.168.1.2"),
        ("[fe80::7]:8765", "fe80::7%eth0"),
        ("[FD00:0::7]:8765", "fd00::7"),
        ("[::1]:8765", "127.0.0.1"),
        ("localhost:8765", "::ffff:127.0.0.1"),
    ]:
        assert names.has(host, arrived_at), host
    for host, arrived_at in [
        ("192.168.1.3:8765", "192.168.1.2"),
        ("127.0.0.1:8765", "192.168.1.2"),
        ("localhost:8765", "192.168.1.2"),
        ("[fd00::8]:8765", "fd00::7"),
        ("192.168.1.2:80", "192.168.1.2"),
        ("192.168.1.2", "192.168.1.2"),
    ]:
        assert not names.has(host, arrived_at), host
    assert OwnNames((), 80).has("192.168.1.2", "192.168.1.2")  # browsers leave it out


def test_a_name_that_is_none_is_refused() -> None:
    for name in ("", "a b", "http://a", "a:b", "a/", "fd00::7"):
        with pytest.raises(InputError) as refused:
            PageServer({}, Endpoint("127.0.0.1", 0, names=(name,)))
        assert refused.value.code == "input.address"
