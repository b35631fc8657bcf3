"""The reader of dashboards and alerts finds what nobody tells, and names it."""

import pytest

from tests.promql import missing, named

THERE_ARE = {"sluice_tasks": {"kind", "state"}, "sluice_wait_bucket": {"le"}, "up": set()}


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ("up == 0", ["up"]),
        ('sum by (kind) (sluice_tasks{state="running"}) > 0 or vector(0)', ["sluice_tasks"]),
        (
            "histogram_quantile(0.5, sum by (le) (rate(sluice_wait_bucket[$__rate_interval])))",
            ["sluice_wait_bucket"],
        ),
        ('1 - min(sluice_tasks{a="b}", c=~"$c"} offset 5m) / 1e3', ["sluice_tasks"]),
        ("label_values(sluice_tasks, kind)", ["sluice_tasks"]),
        ("sluice_tasks / on (kind) group_left (state) slucie_tasks", ["sluice_tasks", "slucie_tasks"]),
    ],
)
def test_metrics(expression: str, metrics: list[str]) -> None:
    assert [name for name, _ in named(expression).matched] == metrics


def test_what_is_there_is_not_missing() -> None:
    expression = 'sum by (kind, instance) (rate(sluice_tasks{state="x", job="j"}[5m]))'
    assert list(missing(expression, {"kind"}, THERE_ARE)) == []


@pytest.mark.parametrize(
    ("expression", "shown", "why"),
    [
        ("rate(slucie_tasks[5m])", set(), "there is no metric slucie_tasks"),
        ('sluice_tasks{room="x"}', set(), "sluice_tasks has no label room"),
        ("sum by (user) (sluice_tasks)", set(), "no metric has the label user"),
        ("sluice_tasks", {"process"}, "no metric has the label process"),
        ("label_values(sluice_tasks, room)", set(), "sluice_tasks has no label room"),
        ("1 + 1", set(), "no metric in '1 + 1'"),
    ],
)
def test_what_nobody_tells_is_named(expression: str, shown: set[str], why: str) -> None:
    assert list(missing(expression, shown, THERE_ARE)) == [why]
