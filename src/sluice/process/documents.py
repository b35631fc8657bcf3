"""The documents of the frame link: what its CONTROL frames say. The frames themselves are in `process.link`.

The first document on a channel comes from the media process and says what the channel is for: a session that
publishes sends Hello, a session that pushes sends Subscribe. After that the room process may tell a publisher
KeyFrameRequest and Replaced, and a subscriber Publisher; a subscriber may ask with KeyFrameRequest and
GroupRequest. Whoever gets anything else ends that channel, and no other.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sluice.core.ids import AppId, RoomId, RunId, UserId
from sluice.core.rooms import StreamIndex
from sluice.process.link import FrameType, LinkError, pack_frame


class Document(BaseModel):
    """What all documents and messages between our processes are made of."""

    model_config = ConfigDict(frozen=True)


class _OfStream(Document):
    app_id: AppId
    room_id: RoomId
    user_id: UserId
    stream: StreamIndex

    @property
    def key(self) -> tuple[UserId, StreamIndex]:
        """The stream's name within its room."""
        return self.user_id, self.stream


class Hello(_OfStream):
    """The session of a run publishes this stream from now on."""

    type: Literal["hello"] = "hello"
    run_id: RunId


class Subscribe(_OfStream):
    """A session wants this stream's frames, and to be told of its publisher."""

    type: Literal["subscribe"] = "subscribe"


class Publisher(Document):
    """The user whose stream is subscribed to; told at once and after each change. `present`: the user is in
    the room. `video` and `audio`: that kind is published. `trouble` says what is wrong with a kind that is
    published, by its name and for people."""

    type: Literal["publisher"] = "publisher"
    present: bool = False
    video: bool = False
    audio: bool = False
    trouble: dict[str, str] = Field(default_factory=dict)

    @property
    def publishes(self) -> bool:
        return self.video or self.audio


class KeyFrameRequest(Document):
    """Somebody needs a key frame. Many publishers make none when asked, copied relays among them."""

    type: Literal["key_frame"] = "key_frame"


class GroupRequest(Document):
    """A subscriber cannot go on without a key frame. If none comes soon, it takes the current group of
    pictures instead, as frames with the flag PAST."""

    type: Literal["group"] = "group"


class Replaced(Document):
    """The publisher's run is over, or another publisher has its stream: its session must not come back. The
    room process closes the channel after it."""

    type: Literal["replaced"] = "replaced"


LinkDocument = Hello | Subscribe | Publisher | KeyFrameRequest | GroupRequest | Replaced

_ADAPTER: TypeAdapter[LinkDocument] = TypeAdapter(Annotated[LinkDocument, Field(discriminator="type")])


def pack_document(document: LinkDocument, channel: int) -> bytes:
    """A whole CONTROL frame."""
    return pack_frame(FrameType.CONTROL, document.model_dump_json().encode(), channel=channel)


def read_document(payload: bytes) -> LinkDocument:
    """The document in a CONTROL frame. Raises LinkError for anything outside the schema."""
    try:
        return _ADAPTER.validate_json(payload)
    except ValidationError as error:
        # Without what was sent: it may be long, and names users.
        raise LinkError(f"a document is outside the schema: {error.error_count()} errors") from error
