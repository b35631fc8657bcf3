"""Addresses of sources, as callers may name them. Whether one can be reached shows when it is opened."""

import re

from sluice.core.hosts import host_and_port
from sluice.core.http_url import PORTS, HttpUrl
from sluice.core.tasks import PLAYABLE_SCHEMES

_LONGEST_URL = 4096
#: Browsers count no slashes here; somebody who writes http:///path has forgotten the host.
_HTTP = re.compile(r" *https?:[/\\]{2}[^/\\]", re.IGNORECASE)
_OTHER = re.compile(r" *([a-z][a-z0-9+.-]*)://([^/?#]*)", re.IGNORECASE)
#: What could end a line of a request to an address, and what no text in UTF-8 can hold.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_source_url(url: str) -> str:
    """An address that can be played, as it is given: spaces and other scripts are asked for as browsers do.
    Raises ValueError with the rule that it breaks."""
    if len(url) > _LONGEST_URL:
        raise ValueError(f"must not be longer than {_LONGEST_URL} characters")
    if _UNSAFE.search(url):
        raise ValueError("must not have control characters")
    try:
        host_of(url)
    except ValueError as error:
        schemes = ", ".join(f"{scheme}://" for scheme in PLAYABLE_SCHEMES)
        why = f" ({error})" if str(error) else ""
        raise ValueError(f"must be an address with a host that begins with one of {schemes}{why}") from error
    return url


def host_of(url: str) -> str:
    """The host of an address that is usable. Raises ValueError for one that is not; the text says why (not
    that it begins otherwise), and nothing of the address."""
    if _HTTP.match(url):
        return HttpUrl.parse(url).host
    found = _OTHER.match(url)
    scheme = found[1].lower() if found else ""
    if found is None or scheme in PORTS or scheme not in PLAYABLE_SCHEMES:
        raise ValueError("it names no host" if scheme in PORTS else "")
    return host_and_port(found[2].rpartition("@")[2], 1935)[0]
