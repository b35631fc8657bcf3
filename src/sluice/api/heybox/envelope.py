"""The answer of the dialect: the envelope of docs/contract/heybox.md 1.1."""

import json
from collections.abc import Mapping

from starlette.responses import Response

from sluice.api.heybox.errors import WRONG_METHOD, BotApiError


def success(result: Mapping[str, object]) -> Response:
    return _response(200, {"msg": "", "result": dict(result), "status": "ok"})


def failure(refusal: BotApiError) -> Response:
    row = refusal.row
    document = {"msg": str(refusal), "result": {}, "status": "failed", "err_code": row.code}
    response = _response(row.http_status, document)
    if row is WRONG_METHOD:
        response.headers["Allow"] = "POST"
    return response


def _response(status: int, document: Mapping[str, object]) -> Response:
    return Response(json.dumps(document), status_code=status, media_type="application/json")
