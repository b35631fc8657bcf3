"""Bots, the channels they play into, and what they may do there. Pure.

Each channel is on a line, which decides what a bot may ask for and in which words it is told of its streams
(docs/contract/heybox.md 1.3). A channel need not be registered: then it is on the bot's line.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from enum import Enum

from sluice.core.ids import AppId, BotId, BotRoomId, ChannelId
from sluice.core.tasks import Dialect


class Line(Enum):
    TRTC = "trtc"
    VOLC = "volc"

    @property
    def dialect(self) -> Dialect:
        return Dialect.BOT_TRTC if self is Line.TRTC else Dialect.BOT_VOLC


@dataclass(frozen=True, slots=True)
class Bot:
    bot_id: BotId
    name: str
    app_id: AppId  #: whose RTC rooms it plays into
    line: Line = Line.TRTC  #: of channels that were given none
    rooms: frozenset[BotRoomId] = frozenset()  #: that it may enter; empty: all

    def may_enter(self, room_id: BotRoomId) -> bool:
        return not self.rooms or room_id in self.rooms

    def line_in(self, channel: "Channel | None") -> Line:
        """The line of a channel, None for one that is not registered."""
        return self.line if channel is None else channel.line


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that was made, or given a line."""

    app_id: AppId
    channel_id: ChannelId
    line: Line
    room_id: BotRoomId | None = None  #: that it lies in, where that is known
    name: str = ""

    def lies_in(self, room_id: BotRoomId) -> bool:
        """False where it is known to lie elsewhere: naming another room must not open it."""
        return self.room_id in (None, room_id)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How many streams of bots may be live at once, None: any number. Those that are stopping do not count:
    whoever stops one may begin the next."""

    per_channel: int | None = None  #: of all bots in one channel
    per_bot: int | None = None  #: of one bot in all channels


NO_LIMITS = StreamLimits()


def new_token(bot_id: BotId, now: float) -> str:
    """The vendor's form; nobody reads it, it is compared (docs/contract/heybox.md 1)."""
    text = f"{bot_id};{int(now * 1e9)};{secrets.token_hex(16)}"
    return base64.b64encode(text.encode()).decode()


def hash_token(token: str) -> str:
    """What is kept of a token and what it is found by: how long that takes tells nothing of the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_channel_id() -> ChannelId:
    """19 digits, a number below 2**63 as the vendor's are."""
    return ChannelId(str(10**18 + secrets.randbelow(8 * 10**18)))
