"""Failures of the dialect as data: err_code, msg and HTTP status (docs/contract/heybox.md 1.1 and 6).

Only `BotApiError` becomes a failure envelope; only `to_refusal` makes it of the errors of the core:
TaskNotFound  -> TASK_NOT_FOUND       AccessRefused -> PERMISSION_DENIED
LimitReached  -> TOO_MANY_STREAMS     NoCapacity    -> NO_CAPACITY       Overloaded -> OVERLOADED
Unavailable   -> UNAVAILABLE          any other     -> INTERNAL_ERROR
"""

from dataclasses import dataclass

from sluice.core.errors import (
    AccessRefused,
    Culprit,
    LimitReached,
    NoCapacity,
    Overloaded,
    SluiceError,
    TaskNotFound,
    Unavailable,
)


@dataclass(frozen=True, slots=True)
class Row:
    """`message` is filled with `%`. Handled failures are answered with 200."""

    code: int
    message: str
    http_status: int = 200


INVALID_JSON = Row(400, "invalid json")
TOO_LARGE = Row(400, "request body is too large")
MISSING = Row(400, "missing parameter: %s")
INVALID = Row(400, "invalid parameter: %s")
INVALID_TOKEN = Row(401, "invalid token")
PERMISSION_DENIED = Row(403, "permission denied")
CHANNEL_NOT_FOUND = Row(404, "channel not found")
TASK_NOT_FOUND = Row(404, "task not found")
NO_SUCH_PATH = Row(404, "not found", 404)
WRONG_METHOD = Row(405, "method not allowed", 405)
TOO_MANY_STREAMS = Row(409, "too many streams")
NO_CAPACITY = Row(409, "no capacity: %s")
OVERLOADED = Row(409, "no capacity")
TOO_MANY_REQUESTS = Row(429, "too many requests", 429)
INTERNAL_ERROR = Row(500, "internal error", 500)
UNAVAILABLE = Row(503, "service unavailable: %s", 503)


class BotApiError(SluiceError):
    """The call fails with this row; `fill` fills its message. `why` is only for the log, except the rule
    that a parameter breaks, which the bot is told."""

    def __init__(self, row: Row, *fill: str, why: str = "") -> None:
        message = row.message % fill
        super().__init__(f"{message} ({why})" if row is INVALID and why else message)
        self.row = row
        self.why = why
        self.culprit = Culprit.US if row is INTERNAL_ERROR else Culprit.CALLER


def to_refusal(error: SluiceError) -> BotApiError:
    """The refusal for an error of the core."""
    match error:
        case BotApiError():
            return error
        case TaskNotFound():
            row = TASK_NOT_FOUND
        case AccessRefused():
            row = PERMISSION_DENIED
        case LimitReached():
            row = TOO_MANY_STREAMS
        case NoCapacity():
            return BotApiError(NO_CAPACITY, str(error))
        case Overloaded():
            row = OVERLOADED
        case Unavailable():
            return BotApiError(UNAVAILABLE, str(error))
        case _:
            row = INTERNAL_ERROR
    return BotApiError(row, why=str(error))
