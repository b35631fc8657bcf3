"""Which metrics and labels an expression of PromQL names: enough of its grammar for dashboards and alerts.

Whatever is left when functions, keywords, durations and numbers are taken away is taken for a metric, so that
a misspelt one is found, too.
"""

import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

#: https://prometheus.io/docs/prometheus/latest/querying/operators/
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_LISTS = "by|without|on|ignoring|group_left|group_right"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_LIST = re.compile(rf"\b(?:{_LISTS})\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^\]]*\]")
_SELECTOR = re.compile(r"([A-Za-z_:][\w:]*)(?:\s*\{([^}]*)\})?(\s*\()?")
_NUMBER = re.compile(r"(?<![\w:])\d[\w.]*")
_MATCHER = re.compile(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)")
_VALUES = re.compile(r"label_values\(\s*([\w:]+)\s*(?:\{[^}]*\})?,\s*(\w+)\s*\)")
#: Labels that Prometheus itself gives.
_ITS_OWN = {"instance", "job"}


@dataclass(frozen=True)
class Named:
    """`matched` are the metrics with the labels that their selectors name; `grouped` are labels of all."""

    matched: tuple[tuple[str, frozenset[str]], ...]
    grouped: frozenset[str]


def named(expression: str) -> Named:
    if found := _VALUES.fullmatch(expression.strip()):
        return Named(((found[1], frozenset([found[2]])),), frozenset())
    text = _RANGE.sub("", _STRING.sub('""', expression))
    grouped = {label.strip() for found in _LIST.finditer(text) for label in found[1].split(",")} - {""}
    text = _NUMBER.sub("", _LIST.sub("", text))
    matched = [
        (name, frozenset(_MATCHER.findall(labels or "")))
        for name, labels, call in (found.groups() for found in _SELECTOR.finditer(text))
        if not call and name not in _KEYWORDS
    ]
    return Named(tuple(matched), frozenset(grouped))


def missing(expression: str, shown: Set[str], there_are: Mapping[str, Set[str]]) -> Iterator[str]:
    """What the expression, or the text that shows its labels (`shown`), names and nobody tells. `there_are`
    are labels by metric."""
    found = named(expression)
    known = set(_ITS_OWN)
    for metric, labels in found.matched:
        if metric not in there_are:
            yield f"there is no metric {metric}"
            continue
        known |= there_are[metric]
        yield from (
            f"{metric} has no label {label}" for label in sorted(labels - there_are[metric] - _ITS_OWN)
        )
    if not found.matched:
        yield f"no metric in {expression!r}"
    yield from (f"no metric has the label {label}" for label in sorted((found.grouped | shown) - known))
