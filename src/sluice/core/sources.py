"""Addresses of sources, as callers may name them. Whether one can be reached shows when it is opened."""

import re
from urllib.parse import urlsplit

from sluice.core.http_url import PORTS, HttpUrl
from sluice.core.tasks import PLAYABLE_SCHEMES

_LONGEST_URL = 4096
#: Browsers count no slashes here; somebody who writes http:///path has forgotten the host.
_HTTP = re.compile(r" *https?:[/\\]{2}[^/\\]", re.IGNORECASE)
#: What could end a line of a request to an address, and what no text in UTF-8 can hold.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_source_url(url: str) -> str:
    """An address that can be played, as it is given: spaces and other scripts are asked for as browsers do.
    Raises ValueError with the rule that it breaks."""
    if len(url) > _LONGEST_URL:
        raise ValueError(f"must not be longer than {_LONGEST_URL} characters")
    if _UNSAFE.search(url):
        raise ValueError("must not have control characters")
    if not _is_usable(url):
        schemes = ", ".join(f"{scheme}://" for scheme in PLAYABLE_SCHEMES)
        raise ValueError(f"must be an address with a host that begins with one of {schemes}")
    return url


def host_of(url: str) -> str:
    """The host of an address that is usable. Raises ValueError for one that is not."""
    parts = urlsplit(url)
    if parts.scheme in PORTS and _HTTP.match(url):
        return HttpUrl.parse(url).host
    if parts.scheme not in PLAYABLE_SCHEMES or parts.scheme in PORTS or not parts.hostname or parts.port == 0:
        raise ValueError("it names no host")
    return parts.hostname


def _is_usable(url: str) -> bool:
    try:
        return bool(host_of(url))
    except ValueError:  # also an unclosed [ or a port that is no number up to 65535
        return False
