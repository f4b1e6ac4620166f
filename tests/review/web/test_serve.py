"""Where a desk may listen, and what it is called."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from flowguard.errors import InputError
from flowguard.review.web import serve
from flowguard.review.web.desk import LOOPBACK, Desk


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False)],
)
def test_only_this_machine_reaches_a_loopback_address(host: str, local: bool) -> None:
    assert serve.loopback(host) is local


def test_a_host_that_is_none_is_refused() -> None:
    for host in ("no such host.invalid", "x" * 300):
        with pytest.raises(InputError, match="cannot be found"):
            serve.loopback(host)


def test_a_desk_answers_to_the_names_it_is_given_alone() -> None:
    assert serve.hosts_of("127.0.0.1", []) == LOOPBACK
    assert serve.hosts_of("127.0.0.2", []) == (*LOOPBACK, "127.0.0.2")
    assert serve.hosts_of("10.0.0.7", ["Desk.example.org"]) == (*LOOPBACK, "10.0.0.7", "desk.example.org")
    assert serve.hosts_of("0.0.0.0", ["*.example.org"]) == (*LOOPBACK, "*.example.org")
    with pytest.raises(InputError, match="--allowed-host"):
        serve.hosts_of("0.0.0.0", [])
    for name in ("*", "http://desk", "desk:80", "", "a b", "*.*.org"):
        with pytest.raises(InputError, match="no host name"):
            serve.hosts_of("127.0.0.1", [name])


def test_a_proxy_has_an_address() -> None:
    assert serve.networks_of(["10.0.0.2", "10.1.0.0/16", "::1"]) == ("10.0.0.2", "10.1.0.0/16", "::1")
    assert serve.networks_of(["10.0.0.7/24"]) == ("10.0.0.0/24",), "as everything that reads it writes it"
    for proxy in ("nginx", "*", ""):
        with pytest.raises(InputError, match="no address of a proxy"):
            serve.networks_of([proxy])
    with pytest.raises(InputError, match="every machine"):
        serve.networks_of(["0.0.0.0/0"])


def test_a_port_that_was_named_is_taken_or_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} of 127.0.0.1 is taken"):
            serve.listening("127.0.0.1", port)
    with serve.listening("127.0.0.1", port) as mine:
        assert mine.getsockname() == ("127.0.0.1", port)


def test_without_a_name_the_next_free_port_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(serve, "PORT", port)
        with serve.listening("127.0.0.1", None) as mine:
            assert port < mine.getsockname()[1] < port + 20
        monkeypatch.setattr(serve, "_TRIED", 1)
        with pytest.raises(InputError, match="all taken"):
            serve.listening("127.0.0.1", None)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match="Name an address of this machine"):
        serve.listening("192.0.2.1", 0)


def test_the_address_is_one_that_a_browser_reaches(desk: Desk) -> None:
    named = replace(desk, hosts=(*LOOPBACK, "*.org", "desk.org"))
    with serve.listening("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        assert serve.url_of(desk, "127.0.0.1", listener) == f"http://127.0.0.1:{port}/"
        assert serve.url_of(desk, "::1", listener) == f"http://[::1]:{port}/"
        assert serve.url_of(named, "0.0.0.0", listener) == f"http://desk.org:{port}/"
        assert serve.url_of(replace(named, https=True), "127.0.0.1", listener) == "https://desk.org/"
