"""How bodies are read (docs/contract/heybox.md 1): strictly typed JSON, null is absent, unknown fields are
ignored.

An empty string does not fill a required field.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sluice.api.heybox.errors import INVALID, MISSING, BotApiError
from sluice.core.ids import is_valid_id

_MISSING = "missing"


def _filled(value: str) -> str:
    if not value:
        raise PydanticCustomError(_MISSING, "missing")
    return value


def _id(value: str) -> str:
    # The vendor's have 19 digits; we take any that can name a room.
    if not is_valid_id(value):
        raise ValueError("must be 1 to 128 of the characters a-z A-Z 0-9 _ @ - .")
    return value


def whole(lowest: int, highest: int, rule: str) -> Any:
    """An integer in a range; `rule` says in which."""

    def check(value: int) -> int:
        if not lowest <= value <= highest:
            raise ValueError(f"must be {rule}")
        return value

    return AfterValidator(check)


#: A required string.
Text = Annotated[str, AfterValidator(_filled)]
Id = Annotated[Text, AfterValidator(_id)]


class Body(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: object) -> object:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data

    @classmethod
    def read(cls, data: Mapping[str, object]) -> Self:
        """Raises BotApiError for the first missing field, else for the first wrong one."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            problem = next((found for found in problems if found["type"] == _MISSING), problems[0])
            row = MISSING if problem["type"] == _MISSING else INVALID
            raise BotApiError(row, str(problem["loc"][0]), why=_rule(problem["msg"])) from error


def _rule(message: str) -> str:
    """Pydantic's message, put as the rule that was broken."""
    message = message.removeprefix("Value error, ")
    return message.replace("Input should be ", "must be ").replace("String should ", "must ")
