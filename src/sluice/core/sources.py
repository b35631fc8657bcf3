"""Addresses of sources, as callers may name them. Whether one can be reached shows when it is opened."""

import re
from urllib.parse import urlsplit

from sluice.core.tasks import PLAYABLE_SCHEMES

_LONGEST_URL = 4096
#: White space and control characters, which could end a line of a request to an address.
_UNSAFE = re.compile(r"[\x00-\x20\x7f]")


def check_source_url(url: str) -> str:
    """An address that can be played. Raises ValueError with the rule that it breaks."""
    if len(url) > _LONGEST_URL:
        raise ValueError(f"must not be longer than {_LONGEST_URL} characters")
    schemes = ", ".join(f"{scheme}://" for scheme in PLAYABLE_SCHEMES)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PLAYABLE_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed [ or a port that is no number up to 65535
        usable = False
    if not usable or _UNSAFE.search(url):
        raise ValueError(f"must be an address with a host that begins with one of {schemes}")
    return url
