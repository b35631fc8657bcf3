"""A run against a world that does anything in any order: callers, sessions, crashes, a store that fails,
another writer, a node that dies. What must be true then stands in the invariants and in `settle`."""

from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sluice.core.blame import Record
from sluice.core.errors import BadInput, NotNow, SluiceError
from sluice.core.ids import AppId, BusinessId, RoomId, RunId, TaskId, UserId
from sluice.core.lifecycle import TABLE, Event, Reason, State, advance
from sluice.core.push import PushStage
from sluice.core.run import STOP_DEADLINE_S, Run, step
from sluice.core.run_events import (
    Accepted,
    Advance,
    Answer,
    Answered,
    Ask,
    CameTooLate,
    ChangeSpec,
    Control,
    Counts,
    Effect,
    Finished,
    Flowing,
    Forget,
    Hold,
    Lost,
    NotAnswered,
    Opened,
    Order,
    Part,
    Persist,
    Persisted,
    Place,
    Placed,
    Planned,
    ProcessGone,
    Progressed,
    Retire,
    RunEvent,
    Send,
    SetStage,
    Silence,
    Staged,
    Stop,
    StoreFailed,
    Ticket,
    Time,
    Unheard,
    Update,
)
from sluice.core.tasks import Dialect, PlaybackChange, PushSpec, RelaySpec, Spec, Task
from sluice.core.vitals import UNKNOWN, Vitals

NOW = 1_800_000_000.0
#: Where a run has its process, or asks for one.
PLAYING = (State.STARTING, State.RUNNING, State.RECOVERING, State.PAUSED)


def a_task(spec: Spec, state: State = State.STARTING) -> Task[Any]:
    return Task(
        id=RunId("run_1"),
        kind=spec.kind,
        dialect=Dialect.VOLCENGINE,
        app_id=AppId("app"),
        room_id=RoomId("room"),
        task_id=TaskId("task"),
        user_id=UserId("user"),
        business_id=BusinessId(""),
        spec=spec,
        state=state,
        reason=Reason.NONE,
        reason_text="",
        created_at=NOW,
    )


class Row:
    """The row of the run, as the store guards it; `task` is None once it is deleted."""

    def __init__(self, task: Task[Any]) -> None:
        self.task: Task[Any] | None = task

    def persist(self, change: Persist) -> Persisted | CameTooLate:
        """Raises IllegalTransition for what the lifecycle has not, however well it is fenced."""
        task = self.task
        if task is None or task.epoch != change.epoch or not task.state.live:
            return CameTooLate(task)
        for one in change.steps:
            task = replace(_after(task, one), epoch=task.epoch + 1)
        self.task = task
        return Persisted(task)


def _after(task: Task[Any], one: Advance | SetStage | ChangeSpec) -> Task[Any]:
    if isinstance(one, Advance):
        state = advance(task.state, one.event)
        return replace(task, state=state, reason=one.reason, reason_text=one.text)
    assert task.state in (State.SCHEDULED, *PLAYING)
    if isinstance(one, SetStage):
        assert one.stage is not task.stage
        return replace(task, stage=one.stage)
    return replace(task, spec=one.spec)


SPECS = st.sampled_from(
    [
        RelaySpec("http://source/"),
        RelaySpec("http://source/", lifetime_s=None),
        RelaySpec("http://source/", start_at=int(NOW) + 60),
        PushSpec("rtmp://cdn/live/key"),
    ]
)


class RunInTheWorld(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.tickets = 0
        self.open_tickets: set[Ticket] = set()
        self.processes = 0  #: how many there were
        self._boot()

    def _boot(self) -> None:
        """What a node has in memory."""
        self.free = True  #: there is a process for whoever asks
        self.session: int | None = None  #: the process that has the session
        self.deaf = False  #: nothing that is sent reaches its process
        self.playing = 1  #: the number of the source that its session plays
        self.failed = False  #: the store, since the time was told last
        self.storing: list[Persist] = []
        self.asking: list[Ask] = []
        self.over = False  #: the run is forgotten
        self.retired = 0
        self.decided = False  #: its end is known, and was not asked for
        self.flows: bool | None = None  #: as its session told last, if nobody has paused it since
        self.silent: set[Part] = set()  #: of its processes

    @initialize(spec=SPECS)
    def begin(self, spec: Spec) -> None:
        state = State.SCHEDULED if spec.start_at else State.STARTING
        expires_at = None if spec.lifetime_s is None else self.now + 300
        task = replace(a_task(spec, state), expires_at=expires_at)
        self.row, self.run = Row(task), Run(task, begun_at=self.now)
        self.happens(Time())

    @precondition(lambda self: self.over)
    @rule(spec=SPECS)
    def begin_another(self, spec: Spec) -> None:
        self._boot()
        self.begin(spec)

    # --- the shell ------------------------------------------------------------------------------------------

    def happens(self, event: RunEvent) -> None:
        if self.over:
            return
        before = self.run
        self.run, effects = step(self.run, event, self.now)
        if self.run.task.state is State.PAUSED:
            self.flows = None
        if before.task.state is not self.run.task.state:
            assert self.row.task is None or self.run.task.state is self.row.task.state
        for effect in effects:
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Persist():
                assert not self.storing, "one change at a time"
                assert effect.steps
                self.storing.append(effect)
            case Place():
                assert not self.over
                assert not self.decided, "what has ended is not placed again"
                assert self.session is None, "one process at most has it"
                assert not any(isinstance(change, Stop) for change in self.run.queue)
                held = self.run.in_flight and isinstance(self.run.queue[0], Update | Control)
                assert not held, "it would begin with what was before"
                if self.free:
                    self.processes += 1
                    self.session, self.deaf = self.processes, False
                    self.playing = self.run.source_number
                    self.happens(Placed(self.processes))
            case Send(process, order):
                assert process == self.run.process
                if self.deaf:
                    self.happens(Unheard())
                    assert self.run.queue or order is Order.UPDATE or not self.run.task.state.live
            case Ask():
                assert not self.asking
                self.asking.append(effect)
            case Answer(ticket, error):
                if ticket is not None:
                    self.open_tickets.remove(ticket)
                else:
                    assert isinstance(error, OSError)
            case Hold():
                assert not self.retired
            case Retire():
                self.retired += 1
            case Forget():
                assert self.retired == 1
                self.over = True

    def ticket(self) -> int:
        self.tickets += 1
        self.open_tickets.add(self.tickets)
        return self.tickets

    # --- callers --------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule(reason=st.sampled_from([Reason.STOPPED, Reason.REMOVED]))
    def stop(self, reason: Reason) -> None:
        self.happens(Stop(self.ticket(), reason, reason.text))

    @precondition(lambda self: not self.over and isinstance(self.run.task.spec, RelaySpec))
    @rule(refused=st.booleans())
    def update(self, refused: bool) -> None:
        def change(spec: RelaySpec) -> RelaySpec:
            if refused:
                raise BadInput("url", "is bad")
            return replace(spec, url=spec.url + "x")

        self.happens(Update(self.ticket(), change))

    @precondition(lambda self: not self.over)
    @rule(
        paused=st.sampled_from([None, True, False]),
        position_us=st.sampled_from([None, 5]),
        volume=st.sampled_from([None, 30]),
    )
    def control(self, paused: bool | None, position_us: int | None, volume: int | None) -> None:
        self.happens(Control(self.ticket(), PlaybackChange(paused, position_us, volume)))

    # --- the session ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.session is not None and Part.MEDIA not in self.silent)
    @rule(
        told=st.sampled_from(
            [
                Accepted(),
                Planned({"video": "copy"}),
                Flowing(),
                Lost(Reason.SOURCE_INTERRUPTED, "gone"),
                Staged(PushStage.WAITING, None, ""),
                Staged(PushStage.PUSHING, None, ""),
                Progressed(7, 2, Counts(), 1.0),
            ]
        )
    )
    def tells(self, told: RunEvent) -> None:
        if isinstance(told, Flowing | Lost):
            self.flows = isinstance(told, Flowing)
        if isinstance(told, Progressed):
            told = replace(told, flowing=self.flows is True)
        self.happens(told)

    @precondition(lambda self: not self.over)
    @rule(part=st.sampled_from(Part), silent=st.booleans())
    def a_process_falls_silent(self, part: Part, silent: bool) -> None:
        if silent and (part is Part.ROOM or self.session is not None):
            self.silent.add(part)
            self.happens(Silence(part, silent))
        elif not silent and part in self.silent:
            self.is_heard(part)

    def is_heard(self, part: Part) -> None:
        """And so is what its session says then."""
        self.silent.discard(part)
        self.happens(Silence(part, silent=False))
        if self.session is not None:
            self.happens(Progressed(7, 2, Counts(), 1.0, flowing=self.flows is True))

    @precondition(lambda self: self.session is not None)
    @rule()
    def hears_of_its_update(self) -> None:
        self.playing = self.run.source_number

    @precondition(lambda self: self.session is not None)
    @rule(reason=st.sampled_from([Reason.END_OF_STREAM, Reason.SOURCE_REFUSED, Reason.REPLACED]))
    def finishes(self, reason: Reason) -> None:
        former = self.playing < self.run.source_number or self.is_updated
        self.session = None
        self.decided |= not (former and reason.of_source)
        self.flows = None
        self.happens(Finished(reason, reason.text, self.playing))

    @property
    def is_updated(self) -> bool:
        """Its update is being stored."""
        return self.run.in_flight is not None and isinstance(self.run.queue[0], Update)

    @precondition(lambda self: self.session is not None)
    @rule(blamed=st.booleans())
    def its_process_dies(self, blamed: bool) -> None:
        self.session = None
        self.silent.discard(Part.MEDIA)
        self.decided |= blamed and self.run.accepted and not self.is_updated
        self.flows = False if self.run.accepted else self.flows
        self.happens(ProcessGone(Record(1, self.now), blamed))

    @precondition(lambda self: self.session is not None)
    @rule()
    def its_process_hangs_up(self) -> None:
        self.deaf = True

    @precondition(lambda self: self.asking)
    @rule(outcome=st.sampled_from([Answered(None), Answered(NotNow("busy")), NotAnswered("it is gone")]))
    def answers(self, outcome: RunEvent) -> None:
        self.asking.clear()
        self.happens(outcome)

    # --- processes, time, the store, others -----------------------------------------------------------------

    @precondition(lambda self: not self.over)
    @rule(free=st.booleans())
    def processes_come_and_go(self, free: bool) -> None:
        self.free = free
        self.happens(Time())

    @precondition(lambda self: not self.over)
    @rule(seconds=st.sampled_from([1, 11, 100]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        self.failed &= self.run.stop_by is not None and self.now <= self.run.stop_by
        self.happens(Time())

    @precondition(lambda self: self.storing)
    @rule()
    def store_commits(self) -> None:
        self.happens(self.row.persist(self.storing.pop()))

    @precondition(lambda self: self.storing)
    @rule(kept=st.booleans())
    def store_fails(self, kept: bool) -> None:
        """It may say so of what it has kept."""
        change, self.failed = self.storing.pop(), True
        if kept:
            self.row.persist(change)
        self.happens(StoreFailed(OSError("no space left on device")))

    @precondition(lambda self: self.row.task is not None and self.row.task.state.live)
    @rule(data=st.data())
    def another_writer(self, data: st.DataObject) -> None:
        task = self.row.task
        assert task is not None
        possible = [event for state, event in TABLE if state is task.state]
        event = data.draw(st.sampled_from([*possible, None]))
        after = task if event is None else replace(task, state=advance(task.state, event))
        self.row.task = replace(after, epoch=task.epoch + 1)

    @precondition(lambda self: not self.over and self.row.task and not self.row.task.state.live)
    @rule()
    def another_deletes_the_row(self) -> None:
        self.row.task = None

    @precondition(lambda self: not self.over)
    @rule(kept=st.booleans())
    def the_node_dies(self, kept: bool) -> None:
        """Its processes die with it; what it was storing may have been kept."""
        if kept and self.storing:
            self.row.persist(self.storing.pop())
        self.open_tickets.clear()
        self._boot()
        if self.row.task is None or not self.row.task.state.live:
            self.over, self.retired = True, 1
            return
        self.run = Run(self.row.task, begun_at=NOW)
        self.happens(Opened())

    # --- what is true ---------------------------------------------------------------------------------------

    @invariant()
    def it_runs_or_asks_for_a_process(self) -> None:
        if self.over or not self.free:
            return
        stopping = any(isinstance(change, Stop) for change in self.run.queue)
        if self.run.task.state in PLAYING and not (self.run.ending or self.run.changing or stopping):
            assert self.run.process is not None

    @invariant()
    def it_is_where_its_session_is(self) -> None:
        if not self.over:
            assert self.run.process == self.session

    @invariant()
    def what_waits_is_on_its_way(self) -> None:
        if not self.over:
            assert (self.run.in_flight is not None) == bool(self.run.queue)
            assert len(self.storing) + len(self.asking) == bool(self.run.queue)

    @invariant()
    def an_end_that_nobody_waits_for_is_being_noted(self) -> None:
        if not self.over and self.run.ending is not None and self.run.process is None:
            assert self.run.queue or self.failed

    @invariant()
    def idle_time_is_no_debt(self) -> None:
        assert self.over or self.run.idle_s(self.now) >= 0

    @invariant()
    def what_is_over_is_retired_once_and_forgotten(self) -> None:
        assert self.retired == self.over
        if self.over:
            assert not self.open_tickets
            assert self.row.task is None or not self.row.task.state.live

    def teardown(self) -> None:
        if hasattr(self, "row"):
            self.settle()

    def settle(self) -> None:
        """The store works again, and sessions answer, but do not stop by themselves. No lifetime ends now."""
        self.run = replace(self.run, task=replace(self.run.task, expires_at=None))
        if self.row.task is not None:
            self.row.task = replace(self.row.task, expires_at=None)
        ended = self.decided or (self.run.ending is not None and not self.is_updated)
        ended |= any(isinstance(change, Stop) for change in self.run.queue)
        for part in list(self.silent):
            self.is_heard(part)
        for _ in range(4):  # it comes due, and its session does not stop
            while self.storing or self.asking:
                if self.asking:
                    self.answers(Answered(None))
                else:
                    self.store_commits()
            self.now += STOP_DEADLINE_S + 1
            self.happens(Time())
        while self.storing:
            self.store_commits()
        assert not self.open_tickets, "everybody is answered"
        assert self.over or not self.run.queue
        assert self.over or self.run.task.state is not State.STOPPING
        assert self.over or not ended, "an end that was decided on, or asked for, is never lost"
        if not self.over and self.row.task is not None and self.row.task.epoch == self.run.task.epoch:
            assert self.row.task.state is self.run.task.state
        if not self.over and self.flows is not None:
            untrue = (State.STARTING, State.RECOVERING) if self.flows else (State.RUNNING,)
            assert self.run.task.state not in untrue, "its state says what its session told last"


TestRunInTheWorld = RunInTheWorld.TestCase
TestRunInTheWorld.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


# --- by hand ------------------------------------------------------------------------------------------------


def live(spec: Spec, state: State, **changes: Any) -> Run:
    return Run(replace(a_task(spec, state), epoch=4), process="p", accepted=True, **changes)


RELAY = RelaySpec("http://source/")
PUSH = PushSpec("rtmp://cdn/live/key")


def test_a_stop_that_another_writer_overtook_still_stops() -> None:
    run, (persist,) = step(live(RELAY, State.RUNNING), Stop("t", Reason.STOPPED, "text"), NOW)
    assert isinstance(persist, Persist)
    assert (persist.epoch, persist.steps) == (4, (Advance(Event.STOP, Reason.STOPPED, "text"),))
    paused = replace(run.task, state=State.PAUSED, epoch=6)
    run, effects = step(run, CameTooLate(paused), NOW)
    assert effects == (Send("p", Order.UPDATE), replace(persist, epoch=6))
    stopping = replace(paused, state=State.STOPPING, epoch=7, reason=Reason.STOPPED, reason_text="text")
    run, effects = step(run, Persisted(stopping), NOW)
    assert effects == (Send("p", Order.STOP), Answer("t", None))
    assert run.ending == (Reason.STOPPED, "text")


def test_a_run_that_another_writer_ended_is_over() -> None:
    run, _ = step(live(RELAY, State.RUNNING), Stop("t", Reason.STOPPED, ""), NOW)
    for task in (replace(run.task, state=State.FAILED, epoch=5), None):
        after, effects = step(run, CameTooLate(task), NOW)
        assert effects[:3] == (Send("p", Order.STOP), Retire(), Forget())
        (answer,) = effects[3:]
        assert isinstance(answer, Answer)
        assert isinstance(answer.error, SluiceError)
        assert not after.task.state.live


def test_a_run_that_another_writer_stops_is_stopped() -> None:
    for process, told in (("p", Send("p", Order.STOP)), (None, None)):
        run = replace(live(RELAY, State.RUNNING), process=process)
        run, _ = step(run, Staged(PushStage.PUSHING, None, ""), NOW)
        task = replace(run.task, state=State.STOPPING, epoch=5, reason=Reason.REMOVED)
        run, effects = step(run, CameTooLate(task), NOW)
        assert run.ending == (Reason.REMOVED, "")
        if told is not None:
            assert effects == (told,)
        else:
            (end,) = effects
            assert isinstance(end, Persist)
            assert end.steps == (Advance(Event.FINISH, Reason.REMOVED, ""),)


def test_a_change_that_the_store_does_not_take_is_given_up() -> None:
    """The row has not changed: to try it again would never come to an end."""
    run, _ = step(live(RELAY, State.RUNNING), Stop("t", Reason.STOPPED, ""), NOW)
    run, (answer,) = step(run, CameTooLate(run.task), NOW)
    assert isinstance(answer, Answer)
    assert run.queue == ()


def test_media_that_flows_before_the_resume_is_noted_leaves_no_idle_time() -> None:
    run = live(RELAY, State.PAUSED, paused_at=NOW, idle_since=NOW - 10)
    for event in (Control("t", PlaybackChange(paused=False)), Flowing(), Answered(None)):
        run, effects = step(run, event, NOW + 5)
    assert isinstance(effects[0], Persist)
    row = Row(run.task)
    run, effects = step(run, row.persist(effects[0]), NOW + 5)
    (flowing,) = (effect for effect in effects if isinstance(effect, Persist))
    run, _ = step(run, row.persist(flowing), NOW + 5)
    assert (run.task.state, run.idle_s(NOW + 100)) == (State.RUNNING, 0.0)


def test_what_ends_before_its_scheduled_start_has_become_due() -> None:
    run = live(replace(RELAY, start_at=int(NOW) + 3), State.SCHEDULED)
    _, (persist,) = step(run, Finished(Reason.END_OF_STREAM, ""), NOW)
    assert isinstance(persist, Persist)
    assert [one.event for one in persist.steps if isinstance(one, Advance)] == [Event.DUE, Event.FINISH]


def test_what_the_store_did_not_take_is_noted_later() -> None:
    """A session tells it once."""
    for spec, state, told, noted in (
        (RELAY, State.STARTING, Flowing(), Advance(Event.FLOWING, Reason.NONE, "")),
        (RELAY, State.RUNNING, Lost(Reason.NONE, "gone"), Advance(Event.LOST, Reason.NONE, "gone")),
        (PUSH, State.RUNNING, Staged(PushStage.WAITING, None, ""), SetStage(PushStage.WAITING, None, "")),
    ):
        run, _ = step(live(spec, state), told, NOW)
        run, (answer,) = step(run, StoreFailed(OSError("database is locked")), NOW)
        assert isinstance(answer, Answer)
        assert run.queue == ()
        run, (again,) = step(run, Time(), NOW + 1)
        assert isinstance(again, Persist)
        assert again.steps == (noted,)
        run, _ = step(run, Row(run.task).persist(again), NOW + 1)
        assert step(run, Time(), NOW + 2) == (run, ()), "once is enough"


def test_media_that_flows_is_noted_after_another_writer_said_otherwise() -> None:
    run = live(RELAY, State.STARTING)
    run, (_, persist) = step(run, Flowing(), NOW)
    assert isinstance(persist, Persist)
    run, _ = step(run, Row(run.task).persist(persist), NOW)
    run, _ = step(run, Control("t", PlaybackChange(volume=30)), NOW)
    run, _ = step(run, Answered(None), NOW)
    run, _ = step(run, CameTooLate(replace(run.task, state=State.RECOVERING, epoch=9)), NOW)
    run = replace(run, queue=(), in_flight=None)
    _, (again,) = step(run, Time(), NOW + 1)
    assert isinstance(again, Persist)
    assert [one.event for one in again.steps if isinstance(one, Advance)] == [Event.FLOWING]


def persist_of(effects: tuple[Effect, ...]) -> Persist:
    (persist,) = (effect for effect in effects if isinstance(effect, Persist))
    return persist


def test_what_a_silent_media_process_told_last_is_not_told_on() -> None:
    run = live(RELAY, State.RUNNING)
    for at, packets in ((1.0, 0), (2.0, 50)):
        told = Progressed(
            7, 1, Counts(audio_packets=packets), at, flowing=True, vitals=Vitals(level_dbfs=-20.0)
        )
        run, _ = step(run, told, NOW)
    assert (run.rates["audio_packets"], run.vitals.level_dbfs) == (50, -20.0)
    assert step(run, Silence(Part.ROOM, silent=True), NOW)[0].rates == run.rates
    run, _ = step(run, Silence(Part.MEDIA, silent=True), NOW)
    assert (run.rates, run.vitals) == ({}, UNKNOWN)


def test_a_run_whose_process_is_silent_is_not_said_to_run() -> None:
    for part, text in (
        (Part.MEDIA, "its media process does not answer"),
        (Part.ROOM, "its room process does not answer"),
    ):
        run = live(RELAY, State.STARTING)
        row = Row(run.task)
        run, effects = step(run, Flowing(), NOW)
        assert effects[0] == Hold(), "its user stays in the room from now on"
        run, _ = step(run, row.persist(persist_of(effects)), NOW)
        run, effects = step(run, Silence(part, silent=True), NOW)
        assert persist_of(effects).steps == (Advance(Event.LOST, Reason.PROCESS_SILENT, text),)
        run, _ = step(run, row.persist(persist_of(effects)), NOW)
        assert run.note == text
        flowing = Progressed(7, 1, Counts(), 1.0, flowing=True)
        assert step(run, flowing, NOW)[1] == (), "whether anybody gets it is not known"
        assert step(run, Flowing(), NOW)[1] == ()
        run, _ = step(run, Silence(part, silent=False), NOW)
        assert step(run, replace(flowing, flowing=False), NOW)[1] == (), "its session knows"
        run, effects = step(run, flowing, NOW)
        assert persist_of(effects).steps == (Advance(Event.FLOWING, Reason.NONE, ""),)


def test_the_user_of_a_relay_that_has_flowed_is_held_from_the_start_of_the_node() -> None:
    for spec, flowed_at, held in ((RELAY, NOW, True), (RELAY, None, False), (PUSH, NOW, False)):
        run = Run(replace(a_task(spec, State.PAUSED), flowed_at=flowed_at))
        assert (Hold() in step(run, Opened(), NOW)[1]) is held


def test_what_flowed_before_a_pause_says_nothing_after_it() -> None:
    run = live(RELAY, State.STARTING)
    row = Row(run.task)
    for event in (
        Flowing(),
        Control("t", PlaybackChange(paused=True)),
        Answered(None),
        Control("t", PlaybackChange(paused=False)),
        Answered(None),
    ):
        run, effects = step(run, event, NOW)
        for persist in effects:
            if isinstance(persist, Persist):
                run, _ = step(run, row.persist(persist), NOW)
    assert run.task.state is State.RECOVERING
    assert step(run, Time(), NOW + 1) == (run, ())


def test_what_a_node_was_ending_when_it_died_ends_for_the_same_reason() -> None:
    task = replace(a_task(RELAY, State.STOPPING), reason=Reason.REMOVED, reason_text="removed")
    _, (persist,) = step(Run(task), Opened(), NOW)
    assert isinstance(persist, Persist)
    assert persist.steps == (Advance(Event.FINISH, Reason.REMOVED, "removed"),)


def test_an_update_goes_on_where_the_source_before_it_has_just_ended() -> None:
    """Whoever asked for it was told that it is done."""
    update = Update("t", lambda spec: replace(spec, url="http://new/"))
    end = Finished(Reason.END_OF_STREAM, "end of stream", source_number=1)
    for early in (True, False):  # while the update is stored, or on its way to the session
        run, (persist,) = step(live(RELAY, State.RUNNING), update, NOW)
        assert isinstance(persist, Persist)
        row = Row(run.task)
        stored = row.persist(persist)
        effects: list[Effect] = []
        for event in (end, stored) if early else (stored, end):
            run, more = step(run, event, NOW)
            effects += more
        assert Answer("t", None) in effects
        assert effects[-1] == Place()
        assert (run.ending, run.process, run.source_number) == (None, None, 2)
        run, _ = step(run, Placed("q"), NOW)
        run, _ = step(run, Finished(Reason.END_OF_STREAM, "", source_number=2), NOW)
        assert run.ending == (Reason.END_OF_STREAM, ""), "its own end is one"


def test_an_update_does_not_bring_back_who_was_replaced() -> None:
    run, (persist,) = step(live(RELAY, State.RUNNING), Update("t", lambda spec: spec), NOW)
    assert isinstance(persist, Persist)
    run, _ = step(run, Row(run.task).persist(persist), NOW)
    run, _ = step(run, Finished(Reason.REPLACED, "", source_number=1), NOW)
    assert run.ending == (Reason.REPLACED, "")


def test_rates_are_of_the_second_before_not_of_the_moment_before() -> None:
    run = live(RELAY, State.RUNNING)
    told = [(0, 10.0), (25, 11.0), (27, 11.1), (50, 12.0)]
    rates = []
    for frames, at in told:
        run, _ = step(run, Progressed(0, 1, Counts(frames, 2 * frames, 1000 * frames), at), NOW)
        rates.append(run.rates.get("video_frames"))
    assert rates == [None, 25, 25, 25]
    assert run.rates == {"video_frames": 25, "audio_packets": 50, "bytes_out": 25_000, "kbps": 200}
    run, _ = step(run, ProcessGone(run.record, blamed=False), NOW)
    assert run.rates == {}
