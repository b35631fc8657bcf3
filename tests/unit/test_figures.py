"""Figures: totals of ended processes are kept, so that what was counted never goes back."""

import pytest

from sluice.core.figures import DEATHS, TABLES, Account, Figure, Growth, Ledger, Tally, Values, shared_name
from sluice.core.node_figures import FAMILIES, Counts, Family, Histogram

PACKETS = Figure("packets", "Packets", total=True, label="direction")
PEERS = Figure("peers", "Peers")


def test_each_figure_is_named_once_and_says_what_it_is() -> None:
    figures = {figure for table in TABLES.values() for figure in table}
    names = [figure.name for figure in figures] + [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    helps = [figure.help for figure in figures] + [family.help for family in FAMILIES]
    assert all(text and not text.endswith(".") for text in helps)
    assert not [name for name in names if name.endswith(("_total", "_bucket", "_sum", "_count", "_info"))]


def test_a_tally_adds_by_figure_and_label() -> None:
    tally = Tally()
    tally.add(PACKETS, 2, "in")
    tally.add(PACKETS, 1, "out")
    tally.add(PACKETS, label="in")
    assert tally.values == {"packets": {"in": 3, "out": 1}}


def test_what_an_ended_process_had_counted_is_kept_and_its_present_values_are_not() -> None:
    ledger = Ledger()
    ledger.tell("room-0", "room", {"packets": {"in": 5}}, {"peers": {"": 2}})
    ledger.tell("room-0", "room", {"packets": {"in": 7}}, {"peers": {"": 1}})
    ledger.end("room-0")
    ledger.end("room-0")
    assert ledger.totals("room") == {"packets": {"in": 7}}
    assert list(ledger.gauges()) == []
    ledger.tell("room-0", "room", {"packets": {"in": 1, "out": 4}}, {"peers": {"": 3}})
    assert ledger.totals("room") == {"packets": {"in": 8, "out": 4}}
    assert list(ledger.gauges()) == [("room-0", "room", {"peers": {"": 3}})]
    assert ledger.totals("media") == {}


def test_processes_that_come_and_go_share_a_name() -> None:
    """Their sums never go back either; a present value is the sum of those that live, or the worst."""
    ledger = Ledger()
    lag: Values = {"loop_lag_seconds": {"p99": 0.2}}
    ledger.tell("media-apart-1", "media", {"packets": {"out": 5}}, {"peers": {"": 1}, **lag})
    ledger.tell("media-apart-2", "media", {"packets": {"out": 2}}, {"peers": {"": 3}, **lag})
    gauges: Values = {"peers": {"": 4}, "loop_lag_seconds": {"p99": 0.2}}
    assert ledger.accounts() == [Account("media-apart", "media", {"packets": {"out": 7}}, gauges)]
    ledger.add("media-apart-1", "media", DEATHS)
    for process in ("media-apart-1", "media-apart-2"):
        ledger.end(process)
    totals: Values = {"packets": {"out": 7}, DEATHS.name: {"": 1}}
    assert ledger.accounts() == [Account("media-apart", "media", totals, {})]
    assert ledger.totals("media") == totals


@pytest.mark.parametrize(
    ("process", "name"),
    [("media-apart-17", "media-apart"), ("media-1", "media-1"), ("room-0", "room-0"), ("node", "node")],
)
def test_names_of_processes_are_bounded(process: str, name: str) -> None:
    assert shared_name(process) == name


def test_a_histogram_counts_a_value_at_a_bound_below_it() -> None:
    histogram = Histogram((0.1, 1))
    for value in (0.0, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(value)
    assert (histogram.counts, histogram.sum) == ([2, 2, 1], 8.6)


def test_counts_begin_with_zero_where_it_is_known_what_there_is() -> None:
    plain, labelled = Family("a", "A", total=True), Family("b", "B", ("of",), total=True, seeds=(("x",),))
    timed = Family("c", "C", buckets=(1.0,))
    counts = Counts()
    assert counts.totals(plain) == {(): 0}
    assert counts.totals(labelled) == {("x",): 0}
    assert counts.histograms(timed)[()].counts == [0, 0]
    counts.add(labelled, "y", by=2)
    counts.observe(timed, -0.5)
    assert counts.totals(labelled) == {("x",): 0, ("y",): 2}
    assert (counts.histograms(timed)[()].counts, counts.histograms(timed)[()].sum) == ([1, 0], 0.0)


def test_a_total_that_seems_to_go_back_is_counted_when_it_is_more() -> None:
    tally = Tally()
    one, other = Growth(tally), Growth(tally)
    for total in (3, 3, 5, 1, 6):
        one.note(PACKETS, total, "in")
    other.note(PACKETS, 10, "in")
    other.note(PACKETS, 0, "out")
    assert tally.values == {"packets": {"in": 16}}
