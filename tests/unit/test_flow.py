from sluice.core.lifecycle import Reason
from sluice.media.flow import SILENT_S, Flow
from sluice.media.packets import TrackKind

VIDEO, AUDIO = TrackKind.VIDEO, TrackKind.AUDIO
LATER = SILENT_S + 0.1


def both() -> Flow:
    flow = Flow()
    flow.sent(VIDEO, 0)
    flow.sent(AUDIO, 0)
    return flow


def test_nothing_is_missed_that_does_not_exist() -> None:
    flow = Flow()
    assert flow.fault(100) is None
    flow.sent(AUDIO, 100)
    assert flow.fault(100 + SILENT_S) is None


def test_pictures_that_stand_still_are_told_while_the_sound_goes_on() -> None:
    flow = both()
    flow.sent(AUDIO, LATER)
    fault = flow.fault(LATER)
    assert fault is not None
    assert (fault.reason, fault.text) == (Reason.PICTURES_STOPPED, Reason.PICTURES_STOPPED.text)
    flow.sent(VIDEO, LATER)
    assert flow.fault(LATER) is None


def test_the_sound_is_told_in_the_same_way() -> None:
    flow = both()
    flow.sent(VIDEO, LATER)
    fault = flow.fault(LATER)
    assert fault is not None
    assert fault.reason is Reason.SOUND_STOPPED


def test_all_that_stops_is_an_interruption() -> None:
    fault = both().fault(LATER)
    assert fault is not None
    assert (fault.reason, fault.text) == (Reason.SOURCE_INTERRUPTED, "no packet left for 2 s")


def test_why_is_told_until_it_leaves_again() -> None:
    flow = both()
    flow.blame(VIDEO, "no key frame has come")
    flow.sent(AUDIO, LATER)
    fault = flow.fault(LATER)
    assert fault is not None
    assert fault.text == f"{Reason.PICTURES_STOPPED.text}: no key frame has come"
    flow.sent(VIDEO, LATER)
    flow.sent(AUDIO, 2 * LATER)
    fault = flow.fault(2 * LATER)
    assert fault is not None
    assert fault.text == Reason.PICTURES_STOPPED.text


def test_why_may_be_taken_back() -> None:
    flow = both()
    flow.blame(VIDEO, "no key frame has come")
    flow.blame(VIDEO, "")
    flow.sent(AUDIO, LATER)
    fault = flow.fault(LATER)
    assert fault is not None
    assert fault.text == Reason.PICTURES_STOPPED.text


def test_kinds_that_stopped_together_are_told_together() -> None:
    flow = both()
    flow.sent(AUDIO, 0.4)
    fault = flow.fault(LATER)
    assert fault is not None
    assert fault.reason is Reason.SOURCE_INTERRUPTED


def test_it_is_complete_when_some_of_each_kind_has_left() -> None:
    flow = Flow()
    flow.expect(VIDEO, 0)
    flow.expect(AUDIO, 0)
    flow.sent(AUDIO, 0.1)
    assert not flow.complete
    flow.sent(VIDEO, 0.2)
    assert flow.complete


def test_what_is_expected_is_missed_after_a_while_and_what_is_forgotten_never() -> None:
    flow = Flow()
    flow.sent(AUDIO, 0)
    flow.expect(VIDEO, 0)
    assert flow.fault(SILENT_S) is None
    flow.sent(AUDIO, LATER)
    assert flow.fault(LATER) is not None
    flow.forget(VIDEO)
    assert flow.fault(LATER) is None


def test_a_slide_every_few_seconds_is_no_standstill() -> None:
    flow, now = Flow(), 0.0
    for _ in range(4):
        flow.sent(VIDEO, now)
        flow.sent(AUDIO, now)
        now += 5
    flow.sent(AUDIO, now - 0.5)
    assert flow.fault(now - 0.5) is None
    flow.sent(AUDIO, now + 6)
    assert flow.fault(now + 6) is not None
