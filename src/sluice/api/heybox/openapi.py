"""The dialect as an OpenAPI 3.1 document, made from the bodies that its paths take."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from sluice.api.examples import BOTS
from sluice.api.heybox import errors
from sluice.api.heybox.channels import CreateChannel
from sluice.api.heybox.errors import Row
from sluice.api.heybox.fields import Body
from sluice.api.heybox.rates import LIMIT
from sluice.api.heybox.streams import Push, Stop
from sluice.api.webhooks import webhooks
from sluice.callbacks.forms.samples import bot_samples

_REF = "#/components/schemas/{model}"
_TOKEN = {"type": "apiKey", "in": "header", "name": "token", "description": "The bot's token."}
_INTRODUCTION = (
    "The bot API of HeyBox: a bot plays the sound of a URL into a voice channel. Handled failures are "
    "answered with 200: `status` says `failed`, `err_code` and `msg` why. "
    f"A bot may call {LIMIT} times a minute."
)
#: What each path answers in `result`.
_RESULTS: Mapping[type[Body], Mapping[str, str]] = {
    Push: {"task_id": "Names the stream, for stop and in callbacks."},
    Stop: {},
    CreateChannel: {"channel_id": "The new channel, which push takes."},
}


class _Schema(GenerateJsonSchema):
    """Null is the same as absent: the document does not name it."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        return {name: value for name, value in made.items() if name != "default" or value is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # the name says it


def document(bodies: Mapping[str, type[Body]], version: str) -> dict[str, Any]:
    """`bodies` by path; `version` is the release."""
    models: list[Any] = [(body, "validation") for body in bodies.values()]
    _, definitions = models_json_schema(models, ref_template=_REF, schema_generator=_Schema, title=None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "HeyBox bot API", "version": version, "description": _INTRODUCTION},
        "security": [{"token": []}],
        "paths": {path: _path(path, body) for path, body in bodies.items()},
        "webhooks": webhooks(bot_samples()),
        "components": {"schemas": definitions["$defs"], "securitySchemes": {"token": _TOKEN}},
        "x-errors": error_rows(),
    }


def error_rows() -> list[dict[str, Any]]:
    rows = [row for row in vars(errors).values() if isinstance(row, Row)]
    return [
        {"code": row.code, "status": row.http_status, "message": row.message.replace("%s", "…")}
        for row in rows
    ]


def _path(path: str, body: type[Body]) -> dict[str, Any]:
    operation = {
        "operationId": path.partition("v3/")[2].replace("/", "."),
        "description": " ".join((body.__doc__ or "").split()),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": _REF.format(model=body.__name__)},
                    "example": BOTS[body.__name__],
                }
            },
        },
        "responses": {
            "200": {
                "description": "The call was done, or `status` says `failed`",
                "content": {"application/json": {"schema": _envelope(_RESULTS[body])}},
            }
        },
    }
    return {"post": operation}


def _envelope(result: Mapping[str, str]) -> dict[str, Any]:
    fields = {name: {"type": "string", "description": text} for name, text in result.items()}
    return {
        "type": "object",
        "required": ["status", "msg", "result"],
        "properties": {
            "status": {"enum": ["ok", "failed"]},
            "msg": {"type": "string", "description": "Why it failed; empty when it was done."},
            "result": {"type": "object", "properties": fields},
            "err_code": {"type": "integer", "description": "Of failures alone."},
        },
    }
