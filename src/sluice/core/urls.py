"""The addresses that callers give: of sources, of callbacks and of pushes. One rule for all of them.

The rule judges the text alone. Whether the host can be reached, and may be, shows when it is connected to.
Addresses that servers give (redirects, playlists) are read by `HttpUrl` and `RtmpUrl`, which take more.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from sluice.core.hosts import host_and_port
from sluice.core.http_url import PORTS, HttpUrl
from sluice.core.tasks import PLAYABLE_SCHEMES

LONGEST_URL = 4096  #: characters
#: Browsers count no slashes here; somebody who writes http:///path has forgotten the host.
_HTTP = re.compile(r" *https?:[/\\]{2}[^/\\]", re.IGNORECASE)
_STRICT_HTTP = re.compile(r"https?://[^/\\]", re.IGNORECASE)
_OTHER = re.compile(r" *([a-z][a-z0-9+.-]*)://([^/?#]*)", re.IGNORECASE)
#: What could end a line of a request to an address, and what no text in UTF-8 can hold.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class UrlRule:
    """`begins` tells people how such an address begins; `parse` raises ValueError for one that names no
    server, with the reason or an empty text. Only some addresses may have spaces, as browsers take them."""

    begins: str
    parse: Callable[[str], object]
    spaces: bool = False

    def check(self, url: str) -> str:
        """The address as it was given. Raises ValueError with the rule that it breaks."""
        if len(url) > LONGEST_URL:
            raise ValueError(f"must not be longer than {LONGEST_URL} characters")
        if _UNSAFE.search(url) or (" " in url and not self.spaces):
            raise ValueError(f"must not have {'' if self.spaces else 'spaces or '}control characters")
        try:
            self.parse(url)
        except ValueError as error:
            why = f" ({error})" if str(error) else ""
            raise ValueError(f"must be an address with a host that begins with {self.begins}{why}") from error
        return url


def host_of(url: str) -> str:
    """The host of a source's address. Raises ValueError for an address that cannot be used; the text says why
    (empty: it begins otherwise) and repeats nothing of the address."""
    if _HTTP.match(url):
        return HttpUrl.parse(url).host
    found = _OTHER.match(url)
    scheme = found[1].lower() if found else ""
    if found is None or scheme in PORTS or scheme not in PLAYABLE_SCHEMES:
        raise ValueError("it names no host" if scheme in PORTS else "")
    return host_and_port(found[2].rpartition("@")[2], 1935)[0]


def _parse_callback_url(url: str) -> HttpUrl:
    if not _STRICT_HTTP.match(url):
        raise ValueError
    return HttpUrl.parse(url)


#: What a relay plays. Spaces and other scripts are asked for as browsers do.
SOURCE_URL = UrlRule(
    f"one of {', '.join(f'{scheme}://' for scheme in PLAYABLE_SCHEMES)}", host_of, spaces=True
)
#: Where callbacks are sent to.
CALLBACK_URL = UrlRule("http:// or https://", _parse_callback_url)
