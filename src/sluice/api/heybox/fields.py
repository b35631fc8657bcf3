"""How bodies are read (docs/contract/heybox.md 1): strictly typed JSON, null is absent, unknown fields are
ignored.

An empty string does not fill a required field. The text below a field is its description in the OpenAPI
document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

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


@dataclass(frozen=True, slots=True)
class whole:  # noqa: N801 - stands beside AfterValidator in the types of fields
    """An integer in a range; `rule` says in which."""

    lowest: int
    highest: int
    rule: str

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_after_validator_function(self._check, handler(kind))

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"minimum": self.lowest, "maximum": self.highest}

    def _check(self, value: int) -> int:
        if not self.lowest <= value <= self.highest:
            raise ValueError(f"must be {self.rule}")
        return value


#: A required string.
Text = Annotated[str, AfterValidator(_filled), WithJsonSchema({"type": "string", "minLength": 1})]
Id = Annotated[
    Text, AfterValidator(_id), WithJsonSchema({"type": "string", "pattern": r"^[a-zA-Z0-9_@\-.]{1,128}$"})
]


class Body(BaseModel):
    model_config = ConfigDict(
        strict=True, frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

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
