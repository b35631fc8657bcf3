"""What a push to a CDN tells of itself: the stage that it is at while it lives."""

from enum import Enum


class PushStage(Enum):
    """The step that a push is at."""

    def __init__(self, code: str) -> None:
        self.code = code

    NONE = "none"  #: no media process has it yet
    WAITING = "waiting"  #: nobody publishes the stream
    CONNECTING = "connecting"  #: the very first attempt to reach the CDN
    RECONNECTING = "reconnecting"  #: every later attempt, and the pauses between them
    PUBLISHING = "publishing"  #: connected, asking to publish
    PUSHING = "pushing"
    STALLED = "stalled"  #: connected, but a kind of media that is published does not leave

    @classmethod
    def of(cls, code: str) -> "PushStage":
        """Raises ValueError when no stage has this code."""
        return cls(code)
