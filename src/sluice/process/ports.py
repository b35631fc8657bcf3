"""Why one of our ports cannot be bound, in words for whoever starts the node."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sluice.core.errors import BadInput

_FIRST_FREE = 1024


@contextmanager
def binding(setting: str, transport: str, host: str, port: int) -> Iterator[None]:
    """Turns an OSError of the body into BadInput for `setting`, whose option people give."""
    try:
        yield
    except OSError as error:
        raise BadInput(setting, _why(error, transport, host, port)) from error


def _why(error: OSError, transport: str, host: str, port: int) -> str:
    if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_AGAIN, socket.EAI_FAIL):
        return f"{host} is neither an IP address nor a name that can be resolved"
    if error.errno == errno.EADDRINUSE:
        return (
            f"the {transport} port {port} of {host} is used by another program; end it, or give another port"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; give one that it has, or 0.0.0.0 for all of them"
    if error.errno in (errno.EACCES, errno.EPERM) and 0 < port < _FIRST_FREE:
        return (
            f"the user {os.getuid()} may not listen at the {transport} port {port}: "
            f"give one from {_FIRST_FREE} up, or give it the right CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EAFNOSUPPORT:
        return f"this machine has no IPv6, which {host} is an address of"
    return f"the {transport} port {port} of {host} cannot be used: {error.strerror or error}"
