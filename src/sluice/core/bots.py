"""Bots, the channels they play into, and what they may do there. Pure.

Each channel is on a line. The line decides what a bot may ask for, and the form of the callbacks about its
streams (docs/contract/heybox.md 1.3). A channel that is not registered is on the bot's line.
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
    line: Line = Line.TRTC  #: of channels that have none of their own
    rooms: frozenset[BotRoomId] = frozenset()  #: the rooms that it may enter; empty: all

    def may_enter(self, room_id: BotRoomId) -> bool:
        return not self.rooms or room_id in self.rooms

    def line_in(self, channel: "Channel | None") -> Line:
        """The line of a channel; `channel` is None for one that is not registered."""
        return self.line if channel is None else channel.line


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that was made, or given a line."""

    app_id: AppId
    channel_id: ChannelId
    line: Line
    room_id: BotRoomId | None = None  #: the room that it lies in, where that is known
    name: str = ""

    def lies_in(self, room_id: BotRoomId) -> bool:
        """False if it is known to lie in another room: naming a wrong room must not open it."""
        return self.room_id in (None, room_id)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How many streams of bots may be live at once; None: any number.

    Streams that are stopping do not count, so that a bot that stops one may begin the next.
    """

    per_channel: int | None = None  #: those of all bots in one channel
    per_bot: int | None = None  #: those of one bot in all channels


NO_LIMITS = StreamLimits()


def new_token(bot_id: BotId, now: float) -> str:
    """A token in the vendor's form (docs/contract/heybox.md 1). It is only compared, never read."""
    text = f"{bot_id};{int(now * 1e9)};{secrets.token_hex(16)}"
    return base64.b64encode(text.encode()).decode()


def hash_token(token: str) -> str:
    """The hash that is stored for a token. A look-up by it takes a time that says nothing about the token."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_channel_id() -> ChannelId:
    """19 digits; like the vendor's, a number below 2**63."""
    return ChannelId(str(10**18 + secrets.randbelow(8 * 10**18)))
