"""What a session tells the node of itself. It says what is true, when it becomes true, and nothing else."""

from typing import Any

from sluice.core.lifecycle import Reason
from sluice.core.push import PushStage
from sluice.core.vitals import UNKNOWN, Vitals
from sluice.media.context import MediaContext
from sluice.media.counts import Counts
from sluice.media.growth import CountsGrowth, Ends
from sluice.media.session import Outcome
from sluice.process.control import Finished, Flowing, Lost, Planned, Progress, Sourced, StageChanged

_NOTHING = Counts()


class Reporter:
    """The reports of one run, and the counts of its connections that are over."""

    def __init__(self, run_id: str, context: MediaContext, ends: Ends) -> None:
        self._run_id, self._send = run_id, context.report
        self._growth = CountsGrowth(context, ends)
        self._totals = Counts()

    @property
    def totals(self) -> Counts:
        return self._totals

    def add(self, counts: Counts) -> None:
        """A connection is over that counted this."""
        self._totals += counts

    def planned(self, document: dict[str, Any]) -> None:
        """`document` as Plan.document makes it, perhaps with notes."""
        self._send(Planned(run_id=self._run_id, plan=document))

    def sourced(self, document: dict[str, Any]) -> None:
        """`document` as SourceFacts.document makes it."""
        self._send(Sourced(run_id=self._run_id, facts=document))

    def flowing(self) -> None:
        """Media leaves (again)."""
        self._send(Flowing(run_id=self._run_id))

    def lost(self, reason: Reason, text: str) -> None:
        """Media does not leave any more, or cannot leave yet."""
        self._send(Lost(run_id=self._run_id, reason=reason.code, text=text))

    def stage(self, stage: PushStage, text: str = "", reason: str = "") -> None:
        """`reason` is the code of a Reason where callers are told one."""
        self._send(StageChanged(run_id=self._run_id, stage=stage.code, text=text, reason=reason))

    def progress(
        self,
        counts: Counts,
        vitals: Vitals = UNKNOWN,
        *,
        position_us: int,
        pass_number: int = 1,
        shared: Counts = _NOTHING,
        flowing: bool,
    ) -> None:
        """`counts` of the present connection, and of what else is not among the totals. `shared`: what other
        sessions count, too, so that it is no part of the process's figures. `flowing` as the session told it
        last."""
        totals = self._totals + counts
        self._growth.note(totals)
        self._send(
            Progress(
                run_id=self._run_id,
                position_us=position_us,
                pass_number=pass_number,
                video_frames=totals.video_frames,
                audio_packets=totals.audio_packets,
                bytes_out=totals.bytes_out,
                reconnects=totals.reconnects,
                dropped={rule.code: count for rule, count in (totals + shared).dropped.items()},
                vitals=vitals,
                flowing=flowing,
            )
        )

    def finished(self, outcome: Outcome, source_number: int | None = None) -> None:
        """The last report. `source_number` of what was played last."""
        reason, text = outcome.reason.code, outcome.text
        self._send(Finished(run_id=self._run_id, reason=reason, text=text, source_number=source_number))
