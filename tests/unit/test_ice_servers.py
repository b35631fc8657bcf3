"""STUN and TURN servers as the operator writes them."""

import pytest

from sluice.core.ice_servers import IceServer, parse_ice_server


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("stun:stun.example.net", IceServer("stun:stun.example.net")),
        ("stuns:[2001:db8::1]:5349", IceServer("stuns:[2001:db8::1]:5349")),
        (
            "turn:anna:secret@turn.example.net:3478?transport=tcp",
            IceServer("turn:turn.example.net:3478?transport=tcp", "anna", "secret"),
        ),
        ("turns:a%3Ab:c%40d@192.0.2.1", IceServer("turns:192.0.2.1", "a:b", "c@d")),
    ],
)
def test_what_is_understood(text: str, server: IceServer) -> None:
    assert parse_ice_server(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stun.example.net",
        "http://stun.example.net",
        "stun:",
        "stun:anna:secret@stun.example.net",
        "turn:turn.example.net",
        "turn:anna@turn.example.net",
        "turn:anna:secret@turn.example.net?transport=sctp",
        "turn:anna:se cret@turn.example.net",
        "turn:anna:se%0Acret@turn.example.net",
        'stun:a"b',
    ],
)
def test_what_is_not_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match=r"STUN|TURN|stun:host") as error:
        parse_ice_server(text)
    assert "cret" not in str(error.value)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(parse_ice_server("turn:anna:secret@turn.example.net"))
