"""The socket of the server, and the address that is told to others."""

from __future__ import annotations

import socket

import pytest

from reflector_gpu.cli.listen import listen, url_of
from reflector_gpu.errors import ConfigurationError


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        pytest.param("::1", "[::1]", marks=pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")),
        pytest.param("::", "[::1]", marks=pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")),
    ],
)
def test_this_machine_reaches_it_at_the_address_told(host: str, told: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://{told}:{port}"
        socket.create_connection((told.strip("[]"), port)).close()


def test_a_taken_port_is_refused_though_nobody_has_connected() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}: another program"):
            listen("127.0.0.1", port)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
