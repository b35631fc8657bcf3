"""The address guard of every outgoing connection: resolve once, check the address, connect to that address.

A name is never judged, and never resolved again after the check. Nothing here honours proxy variables of the
environment: a proxy would resolve names by itself. Whatever goes wrong is a SourceError.
"""

import asyncio
import os
import ssl
import threading
from asyncio import StreamReader, StreamWriter
from copy import copy

from sluice.core.addresses import AddressPolicy
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.limits import MOST_TRIED_ADDRESSES
from sluice.net.names import Names, TooManyLookups
from sluice.net.way import Way

RESOLVE_S = 5.0
CONNECT_S = 5.0


class ByteCount:
    """Counts bytes, from any thread."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.total += count


class _Trust:
    """The context of TLS connections; made once, since loading authorities is slow."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context

    def context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = ssl.create_default_context()
            # Work that a server could ask for again and again.
            self._context.options |= ssl.OP_NO_RENEGOTIATION
        return self._context


class Dialer:
    """`way` is told how far its connections come."""

    def __init__(self, policy: AddressPolicy, tls: ssl.SSLContext | None = None) -> None:
        """`tls` replaces the default context, which trusts the system's authorities."""
        self._policy = policy
        self._trust = _Trust(tls)
        self._names = Names()
        self.received = ByteCount()  #: what was read of its connections
        self.way = Way()

    def watched(self, way: Way) -> "Dialer":
        """One that shares everything with this one, and tells `way`."""
        watched = copy(self)
        watched.way = way
        return watched

    def note_received(self, count: int) -> None:
        """So many bytes were read of one of its connections. From any thread."""
        self.received.add(count)
        self.way.received(count)

    def tls_context(self) -> ssl.SSLContext:
        return self._trust.context()

    async def resolve(self, host: str) -> list[str]:
        """The addresses of `host` that may be connected to, at least one.

        Raises SourceError: SOURCE_UNREACHABLE (transient), ADDRESS_NOT_ALLOWED (permanent).
        """
        try:
            async with asyncio.timeout(RESOLVE_S):
                addresses = await self._names.addresses(host)
        except TimeoutError as error:
            raise unreachable(f"the name {host} was not resolved within {RESOLVE_S:g} s") from error
        except TooManyLookups as error:
            raise unreachable(f"the name {host} was not resolved: {error}") from error
        # ValueError: a label that no name can have, such as an empty one.
        except (OSError, ValueError) as error:
            raise unreachable(f"the name {host} cannot be resolved") from error
        verdicts = [self._policy.judge(address) for address in addresses]
        self.way.judged(host, verdicts)
        permitted = [verdict.address for verdict in verdicts if verdict.permitted]
        if not permitted:
            raise SourceError(
                Reason.ADDRESS_NOT_ALLOWED,
                f"{host} has no public address; the operator can open other networks with --allow-networks",
                transient=False,
            )
        return permitted[:MOST_TRIED_ADDRESSES]

    async def connect(
        self, host: str, port: int, *, tls: bool = False, each_s: float = CONNECT_S
    ) -> tuple[StreamReader, StreamWriter]:
        """A stream to the first permitted address that answers within `each_s`, TLS handshake included.

        Raises SourceError as `resolve` does, and SOURCE_UNREACHABLE (transient) when none answers.
        """
        context = self.tls_context() if tls else None
        cause: OSError | None = None
        for address in await self.resolve(host):
            try:
                async with asyncio.timeout(each_s):
                    streams = await asyncio.open_connection(
                        address, port, ssl=context, server_hostname=host.removesuffix(".") if tls else None
                    )
                self.way.connected()
                return streams
            except OSError as error:  # refused, time-out, TLS
                cause = error
        raise no_connection(host, port, cause, each_s) from cause


def unreachable(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_UNREACHABLE, text, transient=True)


def no_connection(host: str, port: int, cause: OSError | None, each_s: float = CONNECT_S) -> SourceError:
    """The error for `host:port` when `cause` was the last failure to connect."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = f"its certificate is not trusted ({cause.verify_message})"[:200]
    elif isinstance(cause, ssl.SSLError):
        why = "the TLS handshake failed"
    elif isinstance(cause, TimeoutError):
        why = f"no answer within {each_s:g} s"
    else:
        why = os.strerror(cause.errno) if cause is not None and cause.errno else "the connection failed"
    return unreachable(f"{host}:{port} cannot be reached: {why}")
