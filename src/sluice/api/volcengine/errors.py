"""Failures of the dialect as data: code, CodeN, HTTP status and message (docs/contract/volcengine.md 5.1 and
5.2).

Only `OpenApiError` becomes a failure envelope; only `to_refusal` makes it of the errors of the core:
SignatureError -> its gateway row      TaskNotFound -> TASK_NOT_FOUND      Overloaded -> TOO_MANY_TASKS
BadInput       -> ILLEGAL              RoomError    -> the gateway's "unavailable": it comes back by itself
RegistrationRefused -> CALLBACK        Unavailable  -> UNAVAILABLE: the same, and why
any other      -> INTERNAL_ERROR
"""

from dataclasses import dataclass

from sluice.core.callbacks import RegistrationRefused
from sluice.core.errors import (
    BadInput,
    Culprit,
    Overloaded,
    RoomError,
    SluiceError,
    TaskNotFound,
    Unavailable,
)
from sluice.wire.signature import SignatureError


@dataclass(frozen=True, slots=True)
class Row:
    """`message` is filled with `%`; `code_n` marks an error of the gateway (section 5.1)."""

    code: str
    http_status: int
    message: str
    code_n: int | None = None


GATEWAY: dict[str, Row] = {
    row.code: row
    for row in (
        Row("MissingParameter", 400, "The request is missing %s parameter.", 100002),
        Row("MissingAuthenticationToken", 401, "Request is missing Authentication Token.", 100003),
        Row("MissingRequestInfo", 400, "The request is missing %s information.", 100004),
        Row("MissingSignature", 401, "The request is missing signature.", 100005),
        Row("InvalidTimestamp", 400, "The Signature of the request is expired.", 100006),
        Row("ServiceNotFound", 404, "This service[%s] not found.", 100007),
        Row("InvalidActionOrVersion", 404, "Could not find operation %s for version %s.", 100008),
        Row("InvalidAccessKey", 401, "The accesskey [%s] included in the request is invalid.", 100009),
        Row(
            "SignatureDoesNotMatch",
            401,
            "The request signature we calculated does not match the signature you provided. Check your "
            "Secret Access Key and signing method. Consult the service documentation for details.",
            100010,
        ),
        Row("ServiceUnavailableTemp", 503, "Service is unavailable temporarily.", 100019),
        Row("MethodNotAllowed", 405, "Method %s is not allowed.", 100020),
        Row(
            "InvalidAuthorization",
            400,
            "Invalid 'Authorization' header, Pls check authorization header.",
            100024,
        ),
        Row(
            "InvalidCredential",
            400,
            "Invalid credential in 'Authorization', Pls check your authorization header.",
            100025,
        ),
        Row("InvalidSecretToken", 401, "Invalid secret token, msg: %s.", 100026),
    )
}

UNAVAILABLE = Row("ServiceUnavailableTemp", 503, "Service is unavailable temporarily: %s.", 100019)
MISSING = Row("InvalidParameter", 400, "missing required parameter: %s")
ILLEGAL = Row("InvalidParameter", 400, "invalid parameter: %s: %s")
ILLEGAL_ROOM_ID = Row("InvalidParameter.IllegalRoomID", 400, "illegal RoomId")
ILLEGAL_APP_ID = Row("InvalidParameter.IllegalAppId", 400, "illegal AppId")
UNKNOWN_APP_ID = Row("InvalidParameter.NotExistAppId", 400, "AppId does not exist")
INVALID_RTMP_ADDRESS = Row("InvalidParameter.InvalidRtmpAddress", 400, "invalid rtmp address")
EMPTY_BODY = Row("InvalidParameter.BodyIsEmpty", 400, "request body is empty")
UNMARSHAL = Row("InvalidParameter.Unmarshal", 400, "request body cannot be parsed: %s")
SIZE_OVER_LIMIT = Row("InvalidParameter.SizeOverLimit", 400, "request body is too large")
TASK_NOT_FOUND = Row("InvalidParameter.ErrorActiveTaskNotFound", 400, "active task not found")
TOO_MANY_TASKS = Row("FlowLimitExceeded.TaskNumberOverLimit", 429, "%s")
CALLBACK = Row("InvalidParameter", 400, "%s")
QPS_OVER_LIMIT = Row("FlowLimitExceeded.QPSOverLimit", 429, "QPS over limit")
NOT_ENABLED = Row("AccessDenied.ServiceNotEnabled", 403, "service is not enabled")
NO_PERMISSION = Row("AccessDenied.NoPermissionForApp", 403, "no permission for app")
INTERNAL_ERROR = Row("InternalError", 500, "internal error")


class OpenApiError(SluiceError):
    """The call fails with this row; `fill` fills its message."""

    def __init__(self, row: Row, *fill: str) -> None:
        super().__init__(row.message % fill)
        self.row = row
        self.culprit = Culprit.US if row is INTERNAL_ERROR else Culprit.CALLER


def to_refusal(error: SluiceError) -> OpenApiError:
    """The refusal for an error of the core. Its culprit says whether the error was a defect of ours; only the
    log is told what that was."""
    match error:
        case OpenApiError():
            return error
        case SignatureError():
            row = GATEWAY[error.cause.value]
            return OpenApiError(row, error.arg) if "%s" in row.message else OpenApiError(row)
        case BadInput():
            return OpenApiError(ILLEGAL, error.field, error.why)
        case TaskNotFound():
            return OpenApiError(TASK_NOT_FOUND)
        case Overloaded():
            return OpenApiError(TOO_MANY_TASKS, str(error) or "too many tasks")
        case RegistrationRefused():
            return OpenApiError(CALLBACK, str(error))
        case RoomError():
            return OpenApiError(GATEWAY["ServiceUnavailableTemp"])
        case Unavailable():
            return OpenApiError(UNAVAILABLE, str(error))
        case _:
            return OpenApiError(INTERNAL_ERROR)
