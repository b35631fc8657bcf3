"""STUN and TURN servers that browsers are told of: some reach the media port by no other way."""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

_FORM = re.compile(
    r"(?P<scheme>stuns?|turns?):"
    r"(?:(?P<username>[^:@\s]+):(?P<credential>[^:@\s]+)@)?"
    r"(?P<rest>(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::[0-9]{1,5})?(?:\?transport=(?:udp|tcp))?)"
)


@dataclass(frozen=True, slots=True)
class IceServer:
    """`url` as RFC 7064 and RFC 7065 write it; name and password are for TURN."""

    url: str
    username: str = ""
    credential: str = field(default="", repr=False)


def parse_ice_server(text: str) -> IceServer:
    """Reads ``stun:host:port`` or ``turn:user:password@host:port?transport=udp``, where user and password may
    be percent-encoded. Raises ValueError, which does not repeat the text: it may hold a password."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("write stun:host:port or turn:user:password@host:port")
    scheme, username, credential = found["scheme"], found["username"] or "", found["credential"] or ""
    if scheme.startswith("turn") != bool(username):
        raise ValueError("a TURN server needs user:password@ before its host, a STUN server has none")
    server = IceServer(f"{scheme}:{found['rest']}", unquote(username), unquote(credential))
    names = server.username + server.credential
    if not (names.isascii() and names.isprintable()):  # headers carry them
        raise ValueError("user and password of a TURN server must be of printable ASCII")
    return server
