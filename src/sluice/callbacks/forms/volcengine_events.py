"""The vendor's names of events (docs/contract/callbacks.md 1 to 5), which registrations list.

Settings name them, too, so nothing else is imported here: commands start faster.
"""

from collections.abc import Iterable
from difflib import get_close_matches

from sluice.core.callbacks import EventKind

RELAY_EVENT_TYPE = "RelayStreamStateChanged"
EVENT_TYPES: dict[EventKind, str] = {
    EventKind.RELAY_STATE: RELAY_EVENT_TYPE,
    EventKind.PUSH_STARTED: "TranscodeStarted",
    EventKind.PUSH_UPDATED: "TranscodeUpdated",
    EventKind.PUSH_STATE: "TranscodeStateChanged",
    EventKind.PUSH_STOPPED: "TranscodeStopped",
    EventKind.ROOM_CREATED: "RoomCreate",
    EventKind.ROOM_DESTROYED: "RoomDestroy",
    EventKind.USER_JOINED: "UserJoinRoom",
    EventKind.USER_LEFT: "UserLeaveRoom",
    EventKind.AUDIO_STARTED: "UserStartAudioCapture",
    EventKind.AUDIO_STOPPED: "UserStopAudioCapture",
    EventKind.VIDEO_STARTED: "UserStartVideoCapture",
    EventKind.VIDEO_STOPPED: "UserStopVideoCapture",
}
#: Names that a registration may list and that we never send.
_NEVER_SENT = frozenset(
    {
        "InvisibleUserJoinRoom",
        "InvisibleUserLeaveRoom",
        "RoleChangeInvisible2Visible",
        "RoleChangeVisible2Invisible",
        "RecordStarted",
        "RecordStopped",
        "RecordUploadDone",
        "SegmentRealTimeData",
        "SnapshotRealTimeData",
    }
)
#: What an EventList may hold.
EVENT_NAMES = frozenset(EVENT_TYPES.values()) | _NEVER_SENT
_KIND_BY_NAME = {name: kind.value for kind, name in EVENT_TYPES.items()}
_NAME_BY_KIND = {kind: name for name, kind in _KIND_BY_NAME.items()}


def events_of(names: Iterable[str]) -> tuple[str, ...]:
    """An EventList as a Registration holds it. Raises ValueError with the rule that it breaks."""
    events = []
    for name in dict.fromkeys(names):
        if name not in EVENT_NAMES:
            close = get_close_matches(name[:64], sorted(EVENT_NAMES), n=1)
            raise ValueError(
                f"there is no event {name[:64]!r}" + (f"; did you mean {close[0]}?" if close else "")
            )
        events.append(_KIND_BY_NAME.get(name, name))
    if not events:
        raise ValueError("must name at least one event")
    return tuple(events)


def names_of(events: Iterable[str]) -> list[str]:
    """The EventList from which `events_of` made these."""
    return [_NAME_BY_KIND.get(event, event) for event in events]
