"""Callbacks as OpenAPI describes them: what is sent to the programs of callers."""

from collections.abc import Iterable
from typing import Any

from sluice.callbacks.forms.samples import Field, Sample


def webhooks(samples: Iterable[Sample]) -> dict[str, Any]:
    return {sample.name: {"post": _operation(sample)} for sample in samples}


def _operation(sample: Sample) -> dict[str, Any]:
    return {
        "operationId": sample.name,
        "description": sample.when,
        "requestBody": {
            "content": {"application/json": {"schema": _object(sample.fields), "example": sample.body}}
        },
        "responses": {"200": {"description": "It was taken; anything else is tried again"}},
    }


def _object(fields: Iterable[Field]) -> dict[str, Any]:
    return {"type": "object", "properties": {field.name: _schema(field) for field in fields}}


def _schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": field.type, "description": field.meaning}
    if field.values:
        schema["oneOf"] = [{"const": value, "description": text} for value, text in field.values.items()]
    if field.inside and field.type == "string":  # a text that holds JSON
        schema |= {"contentMediaType": "application/json", "contentSchema": _object(field.inside)}
    elif field.inside:
        schema |= _object(field.inside)
    return schema
