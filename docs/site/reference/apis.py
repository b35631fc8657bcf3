"""The three HTTP APIs, from the OpenAPI documents that a node serves."""

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from docs.site.reference.documents import actions, bot_document, native_api, volcengine_document
from docs.site.reference.markdown import code, fence, page, plain, table, written_from
from docs.site.reference.schemas import Schemas
from sluice.api.examples import APP_ID, TOKEN, VOLCENGINE
from sluice.api.heybox.rates import LIMIT
from sluice.api.volcengine.actions import Action
from sluice.api.volcengine.errors import NOT_ENABLED
from sluice.core.apps import Feature

_OPENAPI = f"""
The RTC actions of the Volcengine OpenAPI: `GET` or `POST` to `/?Action=NAME&Version=VERSION`. Each call is
signed with an access key (signature V4, service `rtc`, any region), in the header `Authorization` or in the
query. The vendor's SDKs do that; they need only another host. `POST` takes parameters as JSON in the body,
`GET` takes them from the query. [The contract](../../contract/volcengine.md) has every detail, [its
signature](../../contract/signature.md) too.

`/openapi/volcengine.json` of a node is the OpenAPI document of this page. `/docs` is the page where calls
are tried.

An answer has `Result`, or `Error` in its `ResponseMetadata`. [Errors](errors.md#volcengine-openapi) lists
codes; those that every action may answer are not repeated here. The examples follow each other: what one
starts, the next ones show and stop. `{APP_ID}` stands for the app (`app_id` in `data/credentials.json`),
and `{TOKEN}` for the output of `sluice token --room Room1 --user Clip`.
"""
#: Codes that an action may answer beyond those of all.
_NOT_THERE, _FULL = "InvalidParameter.ErrorActiveTaskNotFound", "FlowLimitExceeded.TaskNumberOverLimit"
ERRORS: Mapping[str, tuple[str, ...]] = {
    "StartRelayStream": (_FULL,),
    "UpdateRelayStream": (_NOT_THERE, _FULL),
    "StopRelayStream": (_NOT_THERE,),
    "StartPushSingleStreamToCDN": ("InvalidParameter.InvalidRtmpAddress", _FULL),
    "StopPushStreamToCDN": (_NOT_THERE,),
    "GetPushSingleStreamToCDNTask": (_NOT_THERE,),
}


def openapi() -> str:
    rows = [list(group) for _, group in groupby(actions(), key=lambda action: action.name)]
    return page(
        "# Volcengine OpenAPI",
        _OPENAPI,
        table(("Action", "Versions", "Calls a second for each app"), map(_summary, rows)),
        *(_action(group) for group in rows),
        written_from("src/sluice/api/volcengine/", "src/sluice/api/examples.py"),
    )


def _summary(group: list[Action[Any]]) -> tuple[str, ...]:
    name = group[0].name
    versions = ", ".join(version for action in group for version in action.versions)
    rates = ", ".join(str(rate) for rate in dict.fromkeys(action.per_second for action in group))
    return f"[{name}](#{name.lower()})", versions, rates


def _action(group: list[Action[Any]]) -> str:
    action, document = group[0], volcengine_document()
    operation = document["paths"][f"/?Action={action.name}"][action.method.lower()]
    schemas = Schemas(document)
    request = document["components"]["schemas"][action.request.__name__]
    success = operation["responses"]["200"]["content"]["application/json"]["schema"]
    result = success.get("anyOf", [success])[0]["properties"]["Result"]
    results = [schemas.fields(one) for one in result.get("anyOf", [result])]
    off = (NOT_ENABLED.code,) if action.feature else ()
    also = ", ".join(map(code, (*ERRORS.get(action.name, ()), *off)))
    return page(
        f"## {action.name}",
        plain(request.get("description", "")),
        f"`{action.method}`"
        + (" with parameters in the body or in the query" if action.query_too else "")
        + (f". The app needs the feature {_feature(action.feature)}." if action.feature else "."),
        schemas.fields(request),
        f"Errors of this action: {also}." if also else "",
        "Example:",
        _example(action),
        f"`Result` is {schemas.rule(result)}." if not any(results) else "In `Result`:",
        results[-1],
    ).rstrip("\n")


def _feature(feature: Feature) -> str:
    return code(feature.value)


def _example(action: Action[Any]) -> str:
    given = VOLCENGINE[action.name]
    head = f"{action.method} /?Action={action.name}&Version={action.versions[-1]}"
    if action.method == "GET":
        return fence("http", f"{head}&{urlencode(given)}")
    return fence("http", f"{head}\nContent-Type: application/json\n\n{json.dumps(given, indent=2)}")


def bot_api() -> str:
    document = bot_document()
    schemas = Schemas(document)
    return page(
        "# Bot API",
        "The calls of the HeyBox bot API by which a bot plays the sound of a URL into a voice channel. "
        "Bots of HeyBox change only their host. [The contract](../../contract/heybox.md) has every detail.",
        "Each call is a `POST` with a JSON body and the bot's token in the header `token`, as "
        "`sluice bot create` prints it. A channel is the RTC room of the same id.",
        "The answer has `status` (`ok` or `failed`), `msg`, `result`, and for failures `err_code`. Handled "
        "failures have the HTTP status 200. [Errors](errors.md#bot-api) lists them. What becomes of a stream "
        "is told to its `callback_url`: [Callbacks](callbacks.md#bots).",
        f"A bot may call {LIMIT} times a minute; the headers `X-RateLimit-*` say what is left, and "
        "`Retry-After` when to come back. `sluice serve --most-streams` and `--most-bot-streams` limit how "
        "many streams there may be at once.",
        *(_bot_call(path, methods["post"], schemas) for path, methods in document["paths"].items()),
        written_from("src/sluice/api/heybox/", "src/sluice/api/examples.py"),
    )


def _bot_call(path: str, operation: dict[str, Any], schemas: Schemas) -> str:
    content = operation["requestBody"]["content"]["application/json"]
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    result = schemas.fields(answer["properties"]["result"])
    return page(
        f"## POST {path}",
        operation["description"],
        schemas.fields(content["schema"]),
        "Example:",
        fence("json", json.dumps(content["example"], indent=2)),
        "In `result`:" if result else "`result` is empty.",
        result,
    ).rstrip("\n")


def native() -> str:
    document = native_api()
    schemas = Schemas(document)
    return page(
        "# Native API",
        "The node's own API, below `/api/v1`: what `sluice` itself uses. Each call needs the admin token "
        "(`admin_token` in `data/credentials.json`) as bearer: `Authorization: Bearer …`. Bodies and answers "
        'are JSON. A failure is `{"error": {"code", "message"}}`: [Errors](errors.md#native-api).',
        "`/openapi.json` of a node is the OpenAPI document of this page, and `/docs` the page where calls "
        "are tried. A body takes no fields but those that are listed. [Task document](task-document.md) says "
        "what stands in a task.",
        *(
            _native_call(f"{method.upper()} {path}", operation, schemas)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ),
        written_from("src/sluice/api/native*.py", "src/sluice/api/health.py"),
    )


def _native_call(name: str, operation: dict[str, Any], schemas: Schemas) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    given = schemas.resolve(body).get("example") if body else None
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    answer = answers[0].get("content", {}).get("application/json", {}).get("schema", {})
    fields = schemas.fields(answer)
    return page(
        f"## {name}",
        f"{operation['summary'].rstrip('.')}.",
        plain(operation.get("description", "")),
        "" if "security" in operation else "Needs no token.",
        schemas.parameters(operation.get("parameters", [])),
        "Body:" if body else "",
        schemas.fields(body) if body else "",
        fence("json", json.dumps(given, indent=2)) if given else "",
        "Answer:" if fields else "",
        fields,
    ).rstrip("\n")
