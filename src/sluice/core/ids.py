"""The ids of sluice as types, so that one cannot take the place of another.

Callers choose the first five, and the ids of channels and rooms of bots; these keep their form
(docs/contract/volcengine.md 7.1). Ours have a prefix, except bots, which are numbered.
"""

import re
import secrets
from typing import NewType

AppId = NewType("AppId", str)
RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)
TaskId = NewType("TaskId", str)
BusinessId = NewType("BusinessId", str)
#: A bot's number: 1, 2, 3, …; never given twice.
BotId = NewType("BotId", int)
#: A channel of bots, and the RTC room of that name.
ChannelId = NewType("ChannelId", str)
#: What bots call a room: it holds channels, and nobody joins it.
BotRoomId = NewType("BotRoomId", str)
#: One run of a task, unique per start: ``run_`` and 20 hex digits.
RunId = NewType("RunId", str)
#: One WebRTC peer of a room process: ``peer_`` and 32 hex digits. Its holder may close the peer.
PeerId = NewType("PeerId", str)

#: Id syntax of AppId, BusinessId, RoomId, TaskId, UserId, ChannelId and BotRoomId, over the whole string.
ID_PATTERN = re.compile(r"[a-zA-Z0-9_@\-.]{1,128}")


def is_valid_id(text: str) -> bool:
    return ID_PATTERN.fullmatch(text) is not None


def new_run_id() -> RunId:
    return RunId(f"run_{secrets.token_hex(10)}")


def new_peer_id() -> PeerId:
    return PeerId(f"peer_{secrets.token_hex(16)}")
