"""One POST to an address that somebody else chose: guarded, bounded in time and size, never redirected.

The guard sits where the socket is made, so it judges the very address that is connected to, be it from a
name or written in the URL. No proxy, cookie or netrc of the environment is used.
"""

import asyncio
import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from sluice import __version__
from sluice.core.addresses import AddressPolicy
from sluice.core.errors import Culprit, SluiceError

#: A reply's body is read so far, so that the connection can be used again; a longer one closes it.
_MOST_REPLY_BYTES = 64 << 10
#: Idle connections are closed by us, before servers commonly do it: a POST that meets a closing connection
#: fails and must not be repeated unasked.
_KEEP_ALIVE_S = 1.5
_CACHE_NAMES_S = 30
_MOST_LOOKUPS = 64
_DRAIN_S = 1.0


class PostFailed(SluiceError):
    """`silent`: no answer came in time, which costs us a connection for all that time."""

    culprit = Culprit.DESTINATION

    def __init__(self, text: str, *, silent: bool = False) -> None:
        super().__init__(text)
        self.silent = silent


class Poster:
    """An async context manager. How much runs at once is the caller's to bound."""

    def __init__(
        self, policy: AddressPolicy, *, timeout_s: float = 5.0, tls: ssl.SSLContext | None = None
    ) -> None:
        """`timeout_s` is for all from the look-up of the name to the answer's headers. `tls` replaces the
        default context, which trusts the system's authorities."""
        self._policy = policy
        self._timeout_s = timeout_s
        self._tls = tls

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=0,
            ssl=self._tls or True,
            resolver=_Resolver(),
            ttl_dns_cache=_CACHE_NAMES_S,
            keepalive_timeout=_KEEP_ALIVE_S,
            socket_factory=self._guarded_socket,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"User-Agent": f"sluice/{__version__}", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> None:
        """Returns when the answer is 200. Raises PostFailed."""
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._session.post(url, headers=headers, data=body, allow_redirects=False)
        except TimeoutError:
            raise PostFailed(f"no answer within {self._timeout_s:g} s", silent=True) from None
        # ValueError: an address that no request can be made of.
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PostFailed(_why(error)) from error
        await _drain(response)
        if response.status != 200:
            raise PostFailed(f"the answer is {response.status}, only 200 counts")

    def _guarded_socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not self._policy.permits(str(address[0])):
            raise _NotAllowed()
        return socket.socket(family, kind, protocol)


class _Resolver(AbstractResolver):
    """Look-ups on threads of their own: the loop has few, and each that asks a silent name server is gone for
    many seconds. The connector asks for one name once at a time."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_LOOKUPS, thread_name_prefix="look-up")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=of, proto=protocol, flags=0)
            for of, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _NotAllowed(OSError):
    def __str__(self) -> str:
        return "it has no public address; the operator can open other networks with --allow-networks"


async def _drain(response: aiohttp.ClientResponse) -> None:
    """What a reply says does not matter, nor whether it ever ends."""
    left = _MOST_REPLY_BYTES
    try:
        async with asyncio.timeout(_DRAIN_S):
            while left > 0 and (data := await response.content.read(left)):
                left -= len(data)
    except (aiohttp.ClientError, OSError):  # TimeoutError is one
        pass
    finally:
        response.close()  # does nothing to a connection whose reply has ended


def _why(error: Exception) -> str:
    """For a person, and without the URL, which may carry secrets."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not trusted ({error.certificate_error})"[:200]
        case aiohttp.ClientConnectorSSLError():
            return "the TLS handshake failed"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} cannot be resolved"
        case aiohttp.ClientConnectorError(os_error=_NotAllowed() as refused):
            return f"{error.host}: {refused}"
        case aiohttp.ClientConnectorError():
            cause = os.strerror(error.os_error.errno) if error.os_error.errno else error.os_error
            return f"{error.host}:{error.port} cannot be reached: {cause}"[:200]
        case aiohttp.InvalidURL() | ValueError():
            return "the address is not usable"
        case aiohttp.ClientResponseError():
            return "the answer is not HTTP"
        case _:
            return "the connection was closed without an answer"
