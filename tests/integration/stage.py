"""A session on its stage: the room's end of its frame links, and what it reported."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sluice.core.addresses import AddressPolicy
from sluice.media.context import MediaContext
from sluice.media.frame_link import FrameLinks
from sluice.media.pacer import Pacer
from sluice.media.relay.session import Relay
from sluice.media.relief import Relief
from sluice.net.dial import Dialer
from sluice.process.control import Finished, Message, RelayJob
from sluice.process.documents import Hello, LinkDocument, pack_document, read_document
from sluice.process.link import FrameParser, FrameType, LinkFrame

_M = TypeVar("_M")


class FakeRoom:
    """The room's end of frame links; keeps what came over each."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.hellos: list[Hello] = []
        self.frames: list[LinkFrame] = []
        self.open_links = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._channel = 0  #: that was opened last

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def tell(self, document: LinkDocument) -> None:
        self._writers[-1].write(pack_document(document, self._channel))

    def drop(self) -> None:
        """Breaks the link that was made last."""
        self._writers[-1].transport.abort()

    async def close(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()

    def of(self, kind: FrameType) -> list[LinkFrame]:
        return [frame for frame in self.frames if frame.type == kind]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.open_links += 1
        parser = FrameParser()
        try:
            while data := await reader.read(1 << 16):
                for frame in parser.feed(data):
                    if frame.type == FrameType.CONTROL:
                        document = read_document(frame.payload)
                        assert isinstance(document, Hello)
                        self.hellos.append(document)
                        self._channel = frame.channel
                    elif frame.type != FrameType.END:
                        self.frames.append(frame)
        except ConnectionError:
            pass  # dropped by the test
        finally:
            self.open_links -= 1
            writer.close()


class Stage:
    """A session with its room, and what it reported."""

    def __init__(self, room: FakeRoom, executor: ThreadPoolExecutor, allow: tuple[str, ...]) -> None:
        self.room = room
        self.reports: list[Message] = []
        self.relief = Relief()
        self._shop = MediaContext(
            dialer=Dialer(AddressPolicy(allow)),
            links=FrameLinks(),
            pacer=Pacer(),
            executor=executor,
            opening=executor,
            report=self._take,
            relief=self.relief,
        )
        self._news = asyncio.Condition()

    def begin(self, url: str, **changes: object) -> None:
        settings: dict[str, object] = {
            "run_id": "run_1",
            "app_id": "app",
            "room_id": "room",
            "user_id": "relay",
            "url": url,
            "media_type": 0,
            "stream_mode": 1,
            "loop": False,
            "idle_s": 5,
            "link": self.room.path,
        }
        self.job = RelayJob.model_validate(settings | changes)
        self.session = Relay(self.job, self._shop)
        self.running = asyncio.create_task(self.session.run())

    @property
    def shop(self) -> MediaContext:
        return self._shop

    async def end(self) -> tuple[str, str]:
        """Reason and text of the session's end, which it tells once and last."""
        async with asyncio.timeout(20):
            await self.running
        *others, last = self.reports
        assert isinstance(last, Finished)
        assert not any(isinstance(report, Finished) for report in others)
        return last.reason, last.text

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.005)

    def of(self, kind: type[_M]) -> list[_M]:
        return [report for report in self.reports if isinstance(report, kind)]

    def _take(self, report: Message) -> None:
        self.reports.append(report)
