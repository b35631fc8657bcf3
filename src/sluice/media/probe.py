"""Looks at a source without playing it: what it is, and what would be made of it.

The source is opened as a relay opens it, read until its tracks are known and a group of pictures was seen,
and closed. The answer comes in time whatever the source does: then it says how far it came. Threads are those
of sources that are not open yet, so that nobody who plays waits for a probe.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from sluice.core.errors import SourceError, unsupported
from sluice.core.limits import LONGEST_PROBE_S, MOST_PROBE_BYTES, MOST_PROBES
from sluice.core.masking import mask_url
from sluice.core.plan import Probe
from sluice.core.probing import failure_document, mode_document
from sluice.core.request_headers import RequestHeaders
from sluice.core.source_facts import Packaging
from sluice.core.tasks import RelaySpec, StreamMode
from sluice.media.closing import until_closed
from sluice.media.context import MediaContext
from sluice.media.packets import KINDS_OF, Packet
from sluice.media.source.seen import Seen
from sluice.media.source.table import FileSource, LiveSource, source_for
from sluice.media.worker import Worker
from sluice.net.dial import unreachable
from sluice.net.way import NotedWay
from sluice.process.control import Message, Probed, ProbeJob, Refused
from sluice.process.owned import own

#: How much media is looked at: at least, and at most of one that has no second key frame; and read at once.
_LEAST_US, _MOST_US, _READ_US = 1_000_000, 12_000_000, 500_000


class Probes:
    """The probes of a media process, a few at once."""

    def __init__(self, context: MediaContext, give_back: Callable[[], None]) -> None:
        """`give_back` is called when memory was set free."""
        self._context, self._give_back = context, give_back
        self._under_way: set[asyncio.Task[None]] = set()

    async def answer(self, job: ProbeJob) -> Message:
        """Probed; Refused while there are too many. One counts until it has given back all that it held."""
        if len(self._under_way) >= MOST_PROBES:
            why = f"{MOST_PROBES} sources are being looked at; try again in {LONGEST_PROBE_S:g} s"
            return Refused(field="url", why=why, busy=True)
        begun = asyncio.get_running_loop().time()
        probing = _Probing(job, self._context)
        task = own(probing.run(), "a probe", vital=False)
        self._under_way.add(task)
        task.add_done_callback(self._end)
        await asyncio.wait({task}, timeout=LONGEST_PROBE_S)
        if task.done():
            task.result()  # an error here is ours
        document = probing.document()
        task.cancel()
        document["seconds"] = round(asyncio.get_running_loop().time() - begun, 2)
        return Probed(document=document)

    def _end(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        self._give_back()


class _Probing:
    def __init__(self, job: ProbeJob, context: MediaContext) -> None:
        self._job, self._context = job, context
        self._way = NotedWay()
        self._source: FileSource | LiveSource | None = None
        self._probe: Probe | None = None
        self._seen = Seen()
        self._begin_us: int | None = None  #: time of the first packet
        self._read_us = self._read_bytes = 0
        self._failure: SourceError | None = None

    async def run(self) -> None:
        """Looks, and closes everything. Returns when all is given back, cancelled or not."""
        try:
            await self._look()
        except SourceError as error:
            error.__traceback__ = error.__cause__ = error.__context__ = None  # they keep what was read
            self._failure = error
        except MemoryError:
            self._failure = unsupported("the source needs more memory than a media process may have")

    def document(self) -> dict[str, Any]:
        """What is known by now, in the form of the native API."""
        source = self._source
        failure = self._failure
        if failure is None and self._probe is None:
            text = f"the source did not tell within {LONGEST_PROBE_S:g} s what it is: {self._way.so_far}"
            failure = unreachable(text)
        packaging = source.packaging if source is not None else Packaging()
        facts = self._seen.facts(packaging, self._probe)
        now = self._seen.probe(self._probe) if self._probe is not None else None
        return {
            "url": mask_url(self._job.url),
            "guard": self._way.guard(),
            "reached": self._way.reached(),
            "source": facts.document() if packaging.container or now is not None else None,
            "modes": {
                mode.name.lower(): mode_document(self._spec(mode), now, facts)
                for mode in self._job.stream_modes
            },
            "notes": source.notes.take() if source is not None else [],
            "failure": failure_document(failure) if failure is not None else None,
        }

    def _spec(self, mode: StreamMode) -> RelaySpec:
        """What a task would be that plays the source in this mode."""
        job = self._job
        return RelaySpec(
            job.url,
            job.media_type,
            mode,
            width=job.width,
            height=job.height,
            frame_rate=job.frame_rate,
            bitrate_kbps=job.bitrate_kbps,
        )

    async def _look(self) -> None:
        job, opening = self._job, self._context.opening
        dialer = self._context.dialer.watched(self._way)
        headers = RequestHeaders(job.user_agent, tuple(job.headers.items()))
        kinds = KINDS_OF[job.media_type]
        source = await source_for(job.url, dialer, opening, kinds, headers)
        self._source = source
        if source.live:
            await self._look_live(source)
        else:
            await self._look_file(source)

    async def _look_live(self, source: LiveSource) -> None:
        try:
            self._probe = await source.open()
            while self._wants_more():
                self._note(await source.read())
        finally:
            await until_closed(source.close(), "the closing of a probe")

    async def _look_file(self, source: FileSource) -> None:
        worker = Worker(self._context.opening)
        try:
            self._probe = await worker.call(source.open)
            while self._wants_more():
                packets = await worker.call(source.read, self._read_us + _READ_US)
                if not packets:
                    break
                self._note(packets)
        finally:
            await until_closed(_close_file(source, worker), "the closing of a probe")

    def _wants_more(self) -> bool:
        span_us = self._read_us - (self._begin_us or 0)
        if span_us < _LEAST_US:
            return self._read_bytes < MOST_PROBE_BYTES
        has_pictures = self._probe is not None and self._probe.video is not None
        enough = self._seen.has_gop() if has_pictures else True
        return not enough and span_us < _MOST_US and self._read_bytes < MOST_PROBE_BYTES

    def _note(self, packets: list[Packet]) -> None:
        for packet in packets:
            if self._begin_us is None:
                self._begin_us = packet.dts_us
            self._seen.note(packet)
            self._read_us = max(self._read_us, packet.dts_us)
            self._read_bytes += len(packet.data)


async def _close_file(source: FileSource, worker: Worker) -> None:
    source.abort()
    await worker.settle()
    await worker.call(source.close)
