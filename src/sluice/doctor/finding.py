"""What a check has found, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"  #: it works, but not for everybody or not for ever
    BAD = "bad"  #: a node would not start, or nobody would be served


@dataclass(frozen=True, slots=True)
class Finding:
    """`check` names what was looked at; `advice` is empty where nothing is to be done."""

    check: str
    level: Level
    text: str
    advice: str = ""


def ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


def warning(check: str, text: str, advice: str) -> Finding:
    return Finding(check, Level.WARNING, text, advice)


def bad(check: str, text: str, advice: str) -> Finding:
    return Finding(check, Level.BAD, text, advice)
