"""Connects to an RTMP server, for sources and pushes alike: TCP, handshake and `connect`, with deadlines.

It logs in where the server asks for it, and follows redirects. Each of these takes a new connection, whose
address is checked. A password is sent only to the server that it belongs to.
"""

import asyncio
import contextlib
import os
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.core.masking import mask_url
from sluice.net.dial import Dialer
from sluice.wire.rtmp import HANDSHAKE_SIZE, Client, ClientState, CostLimit, Event, Rejected, StreamEnded
from sluice.wire.rtmp_auth import Login, LoginFailed
from sluice.wire.rtmp_chunks import RtmpError
from sluice.wire.rtmp_url import RtmpUrl

MOST_REDIRECTS = 5
READ_BYTES = 65536

ClientT = TypeVar("ClientT", bound=Client)


class HungUp(ConnectionError):
    """The server has closed the connection."""


@dataclass(frozen=True, slots=True)
class RtmpLink(Generic[ClientT]):
    """A connection that the server has granted. `machine` is at createStream."""

    reader: StreamReader
    writer: StreamWriter
    machine: ClientT
    dialer: Dialer
    budget: CostLimit = field(default_factory=CostLimit)

    async def receive(self) -> list[Event]:
        """Sends what the protocol asks for, and reads what the server says next. It reads a bounded part, so
        that other tasks of the loop get their turn.

        Raises RtmpError, HungUp and other OSErrors.
        """
        if self.machine.pending:
            await asyncio.sleep(0)
            data = b""
        else:
            self.writer.write(self.machine.to_send())
            await self.writer.drain()
            data = await self.reader.read(READ_BYTES)
            if not data:
                raise HungUp
            self.dialer.note_received(len(data))
        events = self.machine.receive(data)
        self.budget.spend(asyncio.get_running_loop().time(), *self.machine.take_cost())
        return events

    async def close(self) -> None:
        """Closes at once: what is still to be sent does not matter, and a polite end could block."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self.writer.wait_closed()


async def connect_rtmp(
    url: RtmpUrl, dialer: Dialer, kind: Callable[..., ClientT], *, handshake_s: float, reply_s: float
) -> RtmpLink[ClientT]:
    """Returns when the server has granted `connect`. `kind` is the class of the protocol machine.

    Raises SourceError, permanent for addresses that may not be reached and for logins that fail:
    SOURCE_UNREACHABLE, SOURCE_REFUSED, ADDRESS_NOT_ALLOWED.
    """
    way, login = [url], Login(url.user, url.password)
    while True:
        reader, writer = await dialer.connect(url.host, url.port, tls=url.tls)
        random = os.urandom(HANDSHAKE_SIZE - 8)
        machine = kind(app=url.app, stream=url.stream, tc_url=url.tc_url, random=random)
        link = RtmpLink(reader, writer, machine, dialer)
        try:
            await _step(link, ClientState.HANDSHAKE, handshake_s)
            rejected = await _step(link, ClientState.CONNECT, reply_s)
        except BaseException:
            await link.close()
            raise
        if rejected is None:
            dialer.way.answered(url.tc_url, None)
            return link
        await link.close()
        if rejected.redirect:
            url = _followed(way, rejected.redirect)
            login = Login(url.user, url.password)
        elif Login.is_wanted(rejected.text):
            url = _logged_in(way[-1], login, rejected.text)
        else:
            words = url.without_secrets(rejected.text or rejected.code)[:300]
            raise _refused(f"the server refuses: {words}")


async def _step(link: RtmpLink[ClientT], state: ClientState, seconds: float) -> Rejected | None:
    machine = link.machine
    try:
        async with asyncio.timeout(seconds):
            while machine.state is state:
                for event in await link.receive():
                    if isinstance(event, Rejected):
                        return event
                    if isinstance(event, StreamEnded):
                        raise _refused("the server ended the connection instead of granting it")
    except TimeoutError as error:
        text = f"the server did not answer to {state.value} within {seconds:g} s"
        raise SourceError(Reason.SOURCE_UNREACHABLE, text, transient=True) from error
    except RtmpError as error:
        raise _refused(f"the server breaks the protocol: {error}") from error
    except HungUp as error:
        raise _refused(f"the server closed the connection at {state.value}; is the address right?") from error
    except OSError as error:
        raise _refused(f"the server broke the connection at {state.value}") from error
    return None


def _followed(way: list[RtmpUrl], redirect: str) -> RtmpUrl:
    try:
        url = way[-1].redirected(redirect)
    except ValueError as error:
        text = f"the server sends us to {mask_url(redirect)}, which cannot be used: {error}"
        raise _refused(text) from error
    hosts = [f"{hop.host}:{hop.port}" for hop in (*way, url)]
    if url in way:
        raise _refused(f"the server redirects in a circle: {' → '.join(hosts)}")
    if len(way) > MOST_REDIRECTS:
        raise _refused(f"the server redirects more than {MOST_REDIRECTS} times: {' → '.join(hosts)}")
    way.append(url)
    return url


def _logged_in(url: RtmpUrl, login: Login, text: str) -> RtmpUrl:
    try:
        return url.with_parameters(login.parameters(text, url.app, os.urandom(4).hex()))
    except LoginFailed as error:
        raise SourceError(Reason.SOURCE_REFUSED, str(error), transient=False) from error


def _refused(text: str) -> SourceError:
    return SourceError(Reason.SOURCE_REFUSED, text, transient=True)
