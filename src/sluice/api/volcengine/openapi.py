"""The dialect as an OpenAPI 3.1 document, made from the table of actions: one path entry for each action.

The query, not the path, names the action. OpenAPI cannot express this, so the entry's path is
``/?Action=NAME``, and Version is a parameter of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from sluice.api.examples import VOLCENGINE
from sluice.api.volcengine import errors
from sluice.api.volcengine.actions import Action
from sluice.api.volcengine.envelope import ALWAYS_200
from sluice.api.webhooks import webhooks
from sluice.callbacks.forms.samples import volcengine_samples

_REF = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_SIGNATURE = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "Volcengine signature V4 (HMAC-SHA256) of service rtc; presigned queries are taken too.",
}
_INTRODUCTION = (
    "The RTC actions of the Volcengine OpenAPI. Every call is signed; X-Date may be 900 s off, or as "
    "X-Expires says. An answer with `Error` in its `ResponseMetadata` is a failure: the versions "
    f"{' and '.join(sorted(ALWAYS_200))} answer 200 to failures of the call itself."
)


class _Schema(GenerateJsonSchema):
    """An explicit null is the same as absent (docs/contract/volcengine.md 7.2): the document does not name
    it."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return _without_null_default(super().default_schema(schema))

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # the name says it

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        # Pydantic uses its own words for bounds that follow a validator.
        words = {"ge": "minimum", "le": "maximum"}
        return {words.get(name, name): value for name, value in super().generate_inner(schema).items()}


def _without_null_default(schema: JsonSchemaValue) -> JsonSchemaValue:
    return {name: value for name, value in schema.items() if name != "default" or value is not None}


def document(actions: Iterable[Action[Any]], version: str) -> dict[str, Any]:
    """`version` is the release."""
    rows = [list(group) for _, group in groupby(actions, key=lambda action: action.name)]
    schemas = _schemas(rows) | _envelope_schemas()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Volcengine RTC OpenAPI", "version": version, "description": _INTRODUCTION},
        "security": [{"signature": []}],
        "paths": {f"/?Action={group[0].name}": _path(group, schemas) for group in rows},
        "webhooks": webhooks(volcengine_samples()),
        "components": {"schemas": schemas, "securitySchemes": {"signature": _SIGNATURE}},
        "x-errors": error_rows(),
    }


def error_rows() -> list[dict[str, Any]]:
    """Those of the gateway first, which have a CodeN."""
    others = [row for row in vars(errors).values() if isinstance(row, errors.Row)]
    return [
        {"code": row.code, "status": row.http_status, "message": row.message.replace("%s", "…")}
        | ({"code_n": row.code_n} if row.code_n is not None else {})
        for row in (*errors.GATEWAY.values(), *others)
    ]


def _schemas(rows: Iterable[Sequence[Action[Any]]]) -> dict[str, Any]:
    models: dict[type[BaseModel], Any] = {}
    for group in rows:
        for action in group:
            models[action.request] = "validation"
            if isinstance(action.result, type) and issubclass(action.result, BaseModel):
                models[action.result] = "serialization"
    _, definitions = models_json_schema(
        list(models.items()), ref_template=_REF, schema_generator=_Schema, title=None
    )
    return dict(definitions["$defs"])


def _path(group: Sequence[Action[Any]], schemas: dict[str, Any]) -> dict[str, Any]:
    """The entry of an action; `group` are its rows, oldest version first."""
    action, schema = group[0], schemas[group[0].request.__name__]
    versions = [version for row in group for version in row.versions]
    operation: dict[str, Any] = {
        "operationId": action.name,
        "tags": [_tag(action)],
        "summary": action.name,
        "description": " ".join(schema.get("description", "").split()),
        "parameters": [
            {
                "name": "Version",
                "in": "query",
                "required": True,
                "schema": {"type": "string", "enum": versions, "default": versions[-1]},
            }
        ],
        "responses": {
            "200": _answer("The call was done", _success(group, versions)),
            "4XX": _answer("The caller's mistake; `Error` says what to do", _ref("Failure")),
            "5XX": _answer("Ours; it may be sent again", _ref("Failure")),
        },
    }
    if action.method == "GET" or action.query_too:
        given = {} if action.query_too else VOLCENGINE[action.name]
        operation["parameters"] += _query_parameters(schema, given, optional=action.query_too)
    if action.method == "POST":
        body = _json(_ref(action.request.__name__))
        body["content"]["application/json"]["example"] = VOLCENGINE[action.name]
        operation["requestBody"] = body | {"required": not action.query_too}
    return {action.method.lower(): operation}


def _query_parameters(
    schema: dict[str, Any], given: Mapping[str, Any], *, optional: bool
) -> list[dict[str, Any]]:
    """`given`: those of the example. `optional`: they may stand in the body as well."""
    required = () if optional else schema.get("required", ())
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "description": inner.get("description", ""),
            "schema": {key: value for key, value in inner.items() if key not in ("title", "description")},
        }
        | ({"example": given[name]} if name in given else {})
        for name, inner in schema["properties"].items()
    ]


def _success(group: Sequence[Action[Any]], versions: Sequence[str]) -> dict[str, Any]:
    results = [_result(row.result) for row in group]
    envelope = {
        "type": "object",
        "required": ["Result", "ResponseMetadata"],
        "properties": {
            "Result": results[0] if len(results) == 1 else {"anyOf": results},
            "ResponseMetadata": _ref("ResponseMetadata"),
        },
    }
    return {"anyOf": [envelope, _ref("Failure")]} if ALWAYS_200 & set(versions) else envelope


def _result(kind: Any) -> dict[str, Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _ref(kind.__name__)
    return dict(TypeAdapter(kind).json_schema())


def _envelope_schemas() -> dict[str, Any]:
    names = ("RequestId", "Action", "Version", "Service", "Region")
    metadata: dict[str, Any] = {
        "type": "object",
        "required": list(names),
        "properties": dict.fromkeys(names, _TEXT),
    }
    error = {
        "type": "object",
        "required": ["Code", "Message"],
        "properties": {
            "CodeN": {"type": "integer", "description": "Errors of the gateway alone."},
            "Code": _TEXT,
            "Message": _TEXT,
        },
    }
    failed = {
        "allOf": [_ref("ResponseMetadata"), {"required": ["Error"]}],
        "properties": {"Error": _ref("Error")},
    }
    return {
        "ResponseMetadata": metadata,
        "Error": error,
        "Failure": {
            "type": "object",
            "required": ["ResponseMetadata"],
            "properties": {"ResponseMetadata": failed},
        },
    }


def _tag(action: Action[Any]) -> str:
    """The family: the module of its models."""
    return action.request.__module__.rpartition(".")[2].capitalize()


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description} | _json(schema)


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _REF.format(model=name)}
