"""How parameters are read: field types with the rules of docs/contract/volcengine.md 7.2, and their failures.

JSON is read strictly: a value of another type is `Unmarshal`. Queries and forms hold text only
(`ReadContext.text`), where integers are decimal digits and booleans true or false in any letter case.
Null is absent, unknown fields are ignored, an empty string does not fill a required field.
The text below a field is its description in the OpenAPI document.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_pascal
from pydantic_core import ErrorDetails, PydanticCustomError

from sluice.api.volcengine.errors import (
    ILLEGAL,
    ILLEGAL_APP_ID,
    ILLEGAL_ROOM_ID,
    MISSING,
    UNMARSHAL,
    OpenApiError,
)
from sluice.core import ids

_DIGITS = re.compile(r"[0-9]{1,18}")
#: Pydantic's own error types that are about a value, not its JSON type.
_RANGE_TEXTS = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_OWN = "illegal"
_MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ReadContext:
    """How and when a request is read: `text` for queries and forms, `now` in Unix seconds."""

    text: bool
    now: float


def illegal(why: str) -> PydanticCustomError:
    """To be raised by a validator: `invalid parameter: <Path>: <why>`."""
    return PydanticCustomError(_OWN, "{why}", {"why": why})


def missing() -> PydanticCustomError:
    """To be raised by a validator: `missing required parameter: <Path>`."""
    return PydanticCustomError(_MISSING, "missing")


def _integer(value: object, info: ValidationInfo[ReadContext]) -> object:
    if not info.context.text or not isinstance(value, str):
        return value
    if not _DIGITS.fullmatch(value):
        raise illegal("must be an integer in decimal digits")
    return int(value)


def _boolean(value: object, info: ValidationInfo[ReadContext]) -> object:
    if not info.context.text or not isinstance(value, str):
        return value
    if value.lower() not in ("true", "false"):
        raise illegal("must be true or false")
    return value.lower() == "true"


def _filled(value: str) -> str:
    if not value:
        raise missing()
    try:
        value.encode()
    except UnicodeEncodeError as error:  # a form with bytes that are no text
        raise illegal("must be UTF-8") from error
    return value


def _id(value: str) -> str:
    if value and not ids.is_valid_id(value):
        raise illegal("must be 1 to 128 of the characters a-z A-Z 0-9 _ @ - .")
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
#: A required string.
Text = Annotated[str, AfterValidator(_filled), WithJsonSchema({"type": "string", "minLength": 1})]
#: Optional ids may be empty, the same as absent.
OptionalId = Annotated[
    str, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": r"^[a-zA-Z0-9_@\-.]{0,128}$"})
]
Id = Annotated[
    str,
    AfterValidator(_filled),
    AfterValidator(_id),
    WithJsonSchema({"type": "string", "pattern": r"^[a-zA-Z0-9_@\-.]{1,128}$"}),
]


class Fields(BaseModel):
    """Fields in snake_case here, in the vendor's casing on the wire."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        alias_generator=to_pascal,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class Result(BaseModel):
    """What an action answers; a field that is None is left out."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_pascal, validate_by_name=True, use_attribute_docstrings=True
    )


class Request(Fields):
    """The parameters of an action; all of them act on an app."""

    app_id: Id
    """The application."""

    @classmethod
    def read(cls, data: Mapping[str, object], reading: ReadContext) -> Self:
        """Raises OpenApiError for the first of: a wrong JSON type, a missing field, an illegal value."""
        try:
            return cls.model_validate(data, context=reading)
        except ValidationError as error:
            raise _refusal(error.errors(include_url=False, include_input=False)) from error


class RoomRequest(Request):
    room_id: Id
    """The room."""


class TaskRequest(RoomRequest):
    task_id: Id
    """Names the task within its app and room."""


def whole(low: int, high: int) -> Any:
    """The range of an integer field."""
    return Field(ge=low, le=high)


def _refusal(problems: list[ErrorDetails]) -> OpenApiError:
    problem = min(problems, key=_rank)
    kind, context = problem["type"], problem.get("ctx", {})
    path = ".".join(_wire_name(str(part)) for part in problem["loc"])
    if kind == _MISSING:
        return OpenApiError(MISSING, path)
    if kind == _OWN and path in ("AppId", "AppID", "RoomId"):
        return OpenApiError(ILLEGAL_ROOM_ID if path == "RoomId" else ILLEGAL_APP_ID)
    if kind == _OWN:
        return OpenApiError(ILLEGAL, path, context["why"])
    if kind in _RANGE_TEXTS:
        return OpenApiError(ILLEGAL, path, _RANGE_TEXTS[kind].format(**context))
    return OpenApiError(UNMARSHAL, f"{path}: {problem['msg'].lower()}")


def _wire_name(name: str) -> str:
    # A field that was absent, and whose default was refused, is told by its own name.
    return to_pascal(name) if name.islower() else name


def _rank(problem: ErrorDetails) -> int:
    """Order of checks (docs/contract/volcengine.md 5.3): types with the body, then missing, then illegal
    values."""
    if problem["type"] == _MISSING:
        return 1
    return 2 if problem["type"] == _OWN or problem["type"] in _RANGE_TEXTS else 0
