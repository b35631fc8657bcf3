"""The answer of the dialect: the envelope of docs/contract/volcengine.md 4, complete in every case."""

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import BaseModel
from starlette.responses import Response

from sluice.api.volcengine.errors import OpenApiError
from sluice.wire.signature import RequestHead, presented_region

SERVICE = "rtc"
DEFAULT_REGION = "cn-north-1"
#: Versions that answer 200 to business errors, with the Error in the body (section 4.1).
ALWAYS_200 = frozenset({"2020-12-01", "2023-06-01"})


@dataclass(frozen=True, slots=True)
class Metadata:
    """What every answer echoes."""

    request_id: str
    action: str
    version: str
    region: str

    @classmethod
    def of(cls, head: RequestHead, now: float) -> "Metadata":
        """The echo of `head` with a new request id: 14 digits of UTC time and 20 upper-case hex digits."""
        time = datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S")
        return cls(
            request_id=f"{time}{secrets.token_hex(10).upper()}",
            action=head.param("Action") or "",
            version=head.param("Version") or "",
            region=presented_region(head) or DEFAULT_REGION,
        )

    def document(self) -> dict[str, object]:
        return {
            "RequestId": self.request_id,
            "Action": self.action,
            "Version": self.version,
            "Service": SERVICE,
            "Region": self.region,
        }


def success(metadata: Metadata, result: object) -> Response:
    """`result`: what an action answers, a text or a model."""
    if isinstance(result, BaseModel):
        result = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return _response(metadata, 200, {"Result": result, "ResponseMetadata": metadata.document()})


def failure(metadata: Metadata, refusal: OpenApiError) -> Response:
    row = refusal.row
    error: dict[str, object] = {"Code": row.code, "Message": str(refusal)}
    status = row.http_status
    if row.code_n is not None:
        error = {"CodeN": row.code_n, **error}
    elif metadata.version in ALWAYS_200:
        status = 200
    return _response(metadata, status, {"ResponseMetadata": {**metadata.document(), "Error": error}})


def _response(metadata: Metadata, status: int, document: dict[str, object]) -> Response:
    # Escaped to ASCII, so that any text a caller sent can be echoed.
    return Response(
        json.dumps(document),
        status_code=status,
        headers={"Content-Type": "application/json; charset=utf-8", "X-Tt-Logid": metadata.request_id},
    )
