"""The nouns of rooms: streams, who asks for what, and what is told of a room.

`rooms.port` says what a room engine does with them. Between processes they travel in the messages of
`process.control`.
"""

from enum import IntEnum
from typing import NewType

#: Where media sessions reach the engine of a room. The room engine makes it and `media.frame_link` opens it;
#: all between them pass it on as it is.
LinkAddress = NewType("LinkAddress", str)


class StreamIndex(IntEnum):
    """Which of a user's two streams (docs/contract/volcengine.md 9.1)."""

    CAMERA = 0
    SCREEN = 1
