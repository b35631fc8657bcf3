"""The fields of a JSON schema, as rows of a table."""

import json
from collections.abc import Iterator
from typing import Any

from docs.site.reference.markdown import code, table

Schema = dict[str, Any]


class Schemas:
    """The schemas of one OpenAPI document."""

    def __init__(self, document: Schema) -> None:
        self._named = document["components"]["schemas"]

    def fields(self, schema: Schema) -> str:
        """A table; empty if the schema has no fields."""
        return table(("Field", "What it may be", "Meaning"), self._rows(schema, "", ()))

    def parameters(self, found: list[Schema]) -> str:
        rows = [
            (
                _named(one["name"], one.get("required", False)),
                self.rule(one["schema"]),
                one.get("description", ""),
            )
            for one in found
        ]
        return table(("Parameter", "What it may be", "Meaning"), rows)

    def resolve(self, schema: Schema) -> Schema:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self.resolve(self._named[name]) | {key: schema[key] for key in schema if key != "$ref"}
        real = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
        if len(real) == 1:
            return {key: schema[key] for key in schema if key != "anyOf"} | self.resolve(real[0])
        return schema

    def rule(self, schema: Schema) -> str:
        whole = self.resolve(schema)
        if "anyOf" in whole:
            return " or ".join(self.rule(one) for one in whole["anyOf"])
        words = [str(whole["type"])] if "type" in whole else []
        words += [code(json.dumps(whole["const"]))] if "const" in whole else []
        words += [", ".join(code(one) for one in whole["enum"])] if "enum" in whole else []
        if "items" in whole:
            words.append(f"of {self.rule(whole['items'])}")
        words += _bounds(whole)
        if whole.get("default") not in (None, ""):
            words.append(f"default {code(json.dumps(whole['default']))}")
        return ", ".join(words)

    def _rows(self, schema: Schema, before: str, seen: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
        whole = self.resolve(schema)
        if id(whole.get("properties")) in seen:
            return
        seen = (*seen, id(whole.get("properties")))
        for name, raw in whole.get("properties", {}).items():
            inner, path = self.resolve(raw), before + name
            meaning = raw.get("description") or inner.get("description", "")
            values = [f"{code(one['const'])} {one['description']}" for one in inner.get("oneOf", ())]
            told = " ".join(filter(None, [" ".join(meaning.split()), "; ".join(values)]))
            yield _named(path, name in whole.get("required", ())), self.rule(raw), told
            yield from self._rows(inner.get("contentSchema", inner), f"{path}.", seen)
            if "items" in inner:
                yield from self._rows(inner["items"], f"{path}[].", seen)


def _named(name: str, required: bool) -> str:
    return f"{code(name)} (required)" if required else code(name)


def _bounds(schema: Schema) -> Iterator[str]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and low == high:
        yield code(low)
    elif low is not None and high is not None:
        yield f"{low:.0f} to {high:.0f}"
    elif low is not None:
        yield f"at least {low:.0f}"
    elif high is not None:
        yield f"at most {high:.0f}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
    if "pattern" in schema:
        yield code(schema["pattern"])
