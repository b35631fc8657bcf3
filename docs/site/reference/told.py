"""What a node tells: callbacks, metrics, errors."""

import json
from collections.abc import Iterable
from typing import Any

from docs.site.reference.documents import bot_document, native_api, volcengine_document
from docs.site.reference.markdown import code, fence, page, table, written_from
from docs.site.reference.schemas import Schemas
from sluice.api.metrics import PREFIX
from sluice.api.volcengine.envelope import ALWAYS_200
from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER
from sluice.core.drops import DropRule
from sluice.core.figures import TABLES, Figure
from sluice.core.lifecycle import Event, Reason
from sluice.core.node_figures import FAMILIES, Family

_CALLBACKS = """
A node tells your programs what happens by `POST` with a JSON body. Answer 200 within 5 s; anything else is
tried again. Events of one task, or of one room, come in order; none is sent before the one ahead of it was
taken or given up. An event may come twice: `EventId` is the same then. [The
contract](../../contract/callbacks.md) has every detail.
"""
_REGISTERED = """
Who is told is registered for each app: by `CreateCallback`, by `sluice callback create`, or by
`[[callbacks]]` in `sluice.toml`. The body is signed with the secret of the registration. `EventData` is a
text that holds JSON. To check a callback, sort the values of `EventType`, `EventData`, `EventTime`,
`EventId`, `Version`, `AppId`, `Nonce` and the secret as bytes, join them, and compare SHA-256 in hex with
`Signature`. A callback is tried for 24 h, or three times with the setting `callback_retry = "vendor"`.
"""
_BOTS = """
A stream of a bot is told to the `callback_url` of its push, in the form of its channel's line, and is not
signed. It is tried again every 10 s for a minute.
"""


def callbacks() -> str:
    volcengine, bots = volcengine_document(), bot_document()
    return page(
        "# Callbacks",
        _CALLBACKS,
        "## Apps",
        _REGISTERED,
        _envelope(volcengine),
        *(_callback(name, one["post"], volcengine) for name, one in volcengine["webhooks"].items()),
        "## Bots",
        _BOTS,
        *(_callback(name, one["post"], bots) for name, one in bots["webhooks"].items()),
        written_from("src/sluice/callbacks/forms/"),
    )


def _envelope(document: dict[str, Any]) -> str:
    content = document["webhooks"]["UserJoinRoom"]["post"]["requestBody"]["content"]["application/json"]
    fields = content["schema"]["properties"]
    outer = {name: {key: field[key] for key in ("type", "description")} for name, field in fields.items()}
    return page(
        "### The body",
        "All events have the same outer fields:",
        fence("json", json.dumps(content["example"], indent=2)),
        Schemas(document).fields({"properties": outer}),
    ).rstrip("\n")


def _callback(name: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    content = operation["requestBody"]["content"]["application/json"]
    schema, body = content["schema"], content["example"]
    shown = body
    if isinstance(body.get("EventData"), str):  # the envelope is the same for all
        shown = json.loads(body["EventData"])
        schema = schema["properties"]["EventData"]["contentSchema"]
    return page(
        f"### {name}",
        operation["description"],
        "`EventData` holds:" if shown is not body else "",
        fence("json", json.dumps(shown, indent=2)),
        Schemas(document).fields(schema),
    ).rstrip("\n")


_METRICS = """
`GET /metrics` has them in the form of Prometheus, or of OpenMetrics if that is asked for. It takes the
admin token as bearer; a listener of `--metrics-listen` needs none. Totals never go back while a node lives,
deaths of its processes included. Values of labels are bounded: no room, user or task is among them.

A total `NAME` is shown as `NAME_total`, a histogram as `NAME_bucket`, `NAME_sum` and `NAME_count`.
"""


def metrics() -> str:
    figures: dict[Figure, list[str]] = {}
    for kind, table_of_kind in TABLES.items():
        for figure in table_of_kind:
            figures.setdefault(figure, []).append(kind)
    head = ("Metric", "Kind", "Labels", "Meaning")
    return page(
        "# Metrics",
        _METRICS,
        "## The node",
        table(head, [*map(_family, FAMILIES), *_always()]),
        "## Processes",
        "The label `process` names the process: `node`, `room-0`, `media-0` and so on.",
        table(
            (*head[:3], "Processes", head[3]),
            [(*_figure(figure)[:3], ", ".join(kinds), figure.help) for figure, kinds in figures.items()],
        ),
        "## Rules of dropping",
        f"Values of the label `rule` of `{PREFIX}dropped_total`, and names under `dropped` in documents.",
        table(("Rule", "What is left out, and why"), [(code(rule.code), rule.text) for rule in DropRule]),
        written_from("src/sluice/core/figures.py", "src/sluice/core/node_figures.py"),
    )


def _family(family: Family) -> tuple[str, ...]:
    kind = "histogram" if family.buckets else "total" if family.total else "value"
    return code(PREFIX + family.name), kind, ", ".join(map(code, family.labels)), family.help


def _figure(figure: Figure) -> tuple[str, ...]:
    labels = ["process", *filter(None, [figure.label])]
    kind = "total" if figure.total else "value"
    return code(PREFIX + figure.name), kind, ", ".join(map(code, labels)), figure.help


def _always() -> Iterable[tuple[str, ...]]:
    """What `api.metrics` makes itself."""
    yield code(f"{PREFIX}build_info"), "value", "`version`, `python`", "What runs"
    yield code(f"{PREFIX}start_time_seconds"), "value", "", "When the node began, in Unix seconds"


_ERRORS = """
An error names what is wrong and what to do. Which form it has depends on the API. `…` stands for what
differs from call to call. [Troubleshooting](../how-to/troubleshooting.md) goes from symptoms to causes.
"""


def errors() -> str:
    volcengine = [
        (code(row["code"]), row.get("code_n", ""), row["status"], row["message"])
        for row in volcengine_document()["x-errors"]
    ]
    bots = [(row["code"], row["status"], row["message"]) for row in bot_document()["x-errors"]]
    natives = [(code(row["code"]), row["status"], row["message"]) for row in native_api()["x-errors"]]
    return page(
        "# Errors",
        _ERRORS,
        "## Volcengine OpenAPI",
        "In `ResponseMetadata.Error`. Errors of the gateway have a `CodeN`. The versions "
        f"{' and '.join(sorted(ALWAYS_200))} answer 200 to all others; the statuses below are those of later "
        "versions.",
        table(("Code", "CodeN", "HTTP status", "Message"), volcengine),
        "## Bot API",
        table(("`err_code`", "HTTP status", "`msg`"), bots),
        "## Native API",
        table(("`code`", "HTTP status", "Meaning"), natives),
        "## WHIP, WHEP and room events",
        "They answer with a status and a text: [WHIP and WHEP](whip-whep.md#answers).",
        "## Reasons of tasks",
        "`reason` of a task's document says why it ended, or what it waits for. `Reason` of "
        "`RelayStreamStateChanged` is the number. A task that ends for a reason that somebody wanted or that "
        "is natural is `ended`; any other is `failed`.",
        table(("Reason", "Number", "A task ends as", "Meaning"), map(_reason, _reasons())),
        written_from("the tables of errors of each API", "src/sluice/core/lifecycle.py"),
    )


def _reasons() -> list[Reason]:
    return [reason for reason in Reason if reason is not Reason.NONE]


def _reason(reason: Reason) -> tuple[object, ...]:
    outcome = "ended" if reason.outcome is Event.FINISH else "failed"
    return code(reason.code), REASON_NUMBER[reason], outcome, reason.text
