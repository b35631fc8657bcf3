"""What room and media processes leave out, and why: each rule is named once, here. Pure: time is an argument.

Whoever drops something counts it, and says nothing: the counter tells the log at intervals, and the node
once a second (`core.figures.DROPPED`).
"""

from collections.abc import Mapping
from enum import Enum

#: Seconds between two lines of the log about the same rule.
LOGGED_EVERY_S = 60.0


class DropRule(Enum):
    """(name, what is left out and why, for people). Names are values of a label: they stay as they are."""

    def __init__(self, code: str, text: str) -> None:
        self.code = code
        self.text = text

    # --- room processes ---------------------------------------------------------------------------------

    SOCKET_FULL = "socket_full", "packets for peers: the send buffer of the media port was full"
    UNREACHABLE = "unreachable", "packets for peers whose address could not be reached at the moment"
    STRANGER = "stranger", "datagrams from addresses that no peer has shown its password from"
    FORGED = "forged", "packets from the address of a peer that are not authentic, or came before"
    MALFORMED = "malformed", "packets of peers that are no RTP or RTCP"
    EARLY = "early", "packets of peers that came before their handshake was over"
    NOT_AGREED = "not_agreed", "packets of peers that offer and answer did not agree on"
    OVER_BUDGET = "over_budget", "what peers, or others in their name, sent or asked for beyond the limits"
    VIEWER_SLOW = "viewer_slow", "packets for viewers whose network takes less than the stream has"
    PUSH_SLOW = "push_slow", "frames for pushes whose media process did not keep up"
    LATE = "late", "packets of publishers that came after they were given up"
    DUPLICATE = "duplicate", "packets of publishers that came twice"
    UNDECODABLE = "undecodable", "pictures of publishers that were damaged, or came before a key frame"
    B_FRAMES = "b_frames", "pictures of publishers that send B-frames, which browsers cannot show"
    NO_KEY_FRAME = "no_key_frame", "pictures of streams that began without a key frame"

    # --- media processes: also in the documents of tasks ------------------------------------------------

    ROOM_SLOW = "room_slow", "frames for rooms whose process did not keep up"
    DESTINATION_SLOW = "destination_slow", "pictures and sound for CDNs that take less than the stream has"
    VIDEO_UNDECODABLE = "video_undecodable", "pictures that were damaged, or came before a key frame"
    AUDIO_UNDECODABLE = "audio_undecodable", "packets of sound that were damaged"
    AUDIO_LEFT_OUT = "audio_left_out", "places where sound was left out, so that it is with the picture"
    JUMPS = "jumps", "stretches of live sources, to be at their edge again"
    SEGMENTS_SKIPPED = "segments_skipped", "segments of playlists that could not be had or read"
    SOURCE_UNUSABLE = "source_unusable", "packets of sources that were damaged, or before their track began"
    OVERLOAD = "overload", "pictures that transcodes did not show while the machine had too much to do"
    REPEATED = "repeated", "frames that servers sent again to a new connection"


class DropCounter:
    """Counts of one process; or, with `whole`, of a part of it (a peer), which count there, too."""

    __slots__ = ("_counts", "_told", "_whole")

    def __init__(self, whole: "DropCounter | None" = None) -> None:
        self._counts: dict[DropRule, int] = {}
        self._told: dict[DropRule, tuple[float, int]] = {}  #: by the log: when, and the count then
        self._whole = whole

    def add(self, rule: DropRule, count: int = 1) -> None:
        if count:
            self._counts[rule] = self._counts.get(rule, 0) + count
            if self._whole is not None:
                self._whole.add(rule, count)

    @property
    def counts(self) -> Mapping[str, int]:
        """By the rules' names; rules that dropped nothing are left out."""
        return {rule.code: count for rule, count in self._counts.items()}

    def due(self, now_s: float) -> list[tuple[DropRule, int]]:
        """What the log is to say now: rules, and how much they dropped since it spoke of them."""
        due: list[tuple[DropRule, int]] = []
        for rule, count in self._counts.items():
            at_s, told = self._told.get(rule, (-LOGGED_EVERY_S, 0))
            if count > told and now_s - at_s >= LOGGED_EVERY_S:
                self._told[rule] = now_s, count
                due.append((rule, count - told))
        return due
