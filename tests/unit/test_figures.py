"""Figures: totals of ended processes are kept, so that what was counted never goes back."""

from sluice.core.figures import MEDIA, PROCESS, ROOM, Figure, Growth, Ledger, Tally

PACKETS = Figure("packets", "Packets", total=True, label="direction")
PEERS = Figure("peers", "Peers")


def test_each_figure_is_named_once_and_says_what_it_is() -> None:
    figures = {*PROCESS, *ROOM, *MEDIA}
    assert len({figure.name for figure in figures}) == len(figures)
    assert all(figure.help and not figure.help.endswith(".") for figure in figures)


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


def test_a_total_that_seems_to_go_back_is_counted_when_it_is_more() -> None:
    tally = Tally()
    one, other = Growth(tally), Growth(tally)
    for total in (3, 3, 5, 1, 6):
        one.note(PACKETS, total, "in")
    other.note(PACKETS, 10, "in")
    other.note(PACKETS, 0, "out")
    assert tally.values == {"packets": {"in": 16}}
