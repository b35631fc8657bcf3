"""How many files and sockets this process may have, and how many of them are for callers.

The others are for children that are started again, the store, callbacks, and the operator.
"""

import resource
from dataclasses import dataclass

from sluice.core.limits import KEPT_DESCRIPTORS

#: More is of no use, and some systems allow a billion.
_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Share:
    """What callers may take: open `connections`, and a `backlog` of those that are accepted at once, before
    they are counted."""

    connections: int
    backlog: int


def raise_limit() -> int:
    """Raises the number of descriptors that this process may have to what the system allows; the new
    number."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return _MOST if soft == resource.RLIM_INFINITY else soft


def share_of_callers(descriptors: int, most_connections: int) -> Share:
    """`most_connections` is what the operator allows."""
    kept = min(KEPT_DESCRIPTORS, descriptors // 2)
    return Share(max(1, min(most_connections, descriptors - kept)), max(1, min(1024, kept // 2)))
