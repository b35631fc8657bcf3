"""The user agent and further headers that an operator sets for requests to the sources of an app's tasks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.core.masking import is_secret_header, mask_text

MOST_HEADERS, LONGEST_VALUE = 20, 2048

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_VALUE = re.compile(r"[\x20-\x7e]*")
#: Headers that we set ourselves, and those of a single connection (RFC 9110 7.6.1).
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "if-range", "keep-alive"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection", "range", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "user-agent"}
)


@dataclass(frozen=True, slots=True)
class RequestHeaders:
    user_agent: str = ""  #: empty: ours
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def masked(self) -> dict[str, str]:
        """The headers with secret values masked, for documents."""
        return {name: "***" if is_secret_header(name) else mask_text(value) for name, value in self.headers}


def check_user_agent(value: str) -> str:
    """Raises ValueError with the rule that it breaks."""
    return _check_value(value)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers in the form in which they are sent. Raises ValueError with the rule that one breaks."""
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"there may be {MOST_HEADERS} headers at most")
    names = [name.lower() for name in headers]
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ValueError("a name is 1 to 64 characters of a token (RFC 9110 5.6.2)")
        if name.lower() in _OURS:
            raise ValueError(f"{name} is made by the request itself")
        if names.count(name.lower()) > 1:
            raise ValueError(f"{name} may stand there once")
        _check_value(value)
    return dict(headers)


def _check_value(value: str) -> str:
    if len(value) > LONGEST_VALUE or not _VALUE.fullmatch(value) or value != value.strip():
        raise ValueError(
            f"a value is up to {LONGEST_VALUE} printable ASCII characters without spaces at its ends"
        )
    return value


PLAIN = RequestHeaders()
