"""Fair shares: seats by user, address and room, rates, and the back-off of who guesses."""

import pytest

from sluice.core.fairness import BackOff, Holder, Rate, SeatLimits, Seats, network_of
from sluice.core.limits import LONGEST_BACK_OFF_S, MOST_RATED_CALLERS, TRUST_S

ROOM = ("app", "room")


def holder(user: str = "anna", address: str = "192.0.2.1", room: tuple[str, str] = ROOM) -> Holder:
    return Holder(room, user, address)


def taken(seats: Seats, wanted: Holder, tries: int = 50) -> int:
    """How many seats he gets."""
    for got in range(tries):
        if seats.refusal(wanted):
            return got
        seats.take(wanted)
    return tries


@pytest.mark.parametrize(
    ("first", "second", "left"),
    [
        (holder(), holder(), 0),
        (holder(), holder(address="192.0.2.2"), 3),  # of the user, from elsewhere
        (holder(), holder("bert"), 4),  # of the address
        (holder(), holder(address="", room=("app", "other")), 4),
        (holder(), holder("bert", room=("other", "room")), 4),
        (holder(address="2001:db8::1"), holder(address="2001:db8::2"), 0),
        (holder(address="::ffff:192.0.2.1"), holder(), 0),
    ],
)
def test_seats(first: Holder, second: Holder, left: int) -> None:
    seats = Seats(SeatLimits(token=4, user=7, address=8, room=20), "peers")
    assert taken(seats, first) == 4
    assert taken(seats, second) == left


def test_a_room_has_its_share_and_names_it() -> None:
    seats = Seats(SeatLimits(4, 7, 8, 10), "peers")
    users = [holder(f"user{n}", f"192.0.2.{n}") for n in range(5)]
    assert [taken(seats, user) for user in users] == [4, 4, 2, 0, 0]
    assert seats.refusal(users[4]) == "this room has 10 peers, the most at once; end some of them"
    seats.give_back(users[0])
    assert taken(seats, users[4]) == 1


def test_a_node_has_its_most() -> None:
    seats = Seats(SeatLimits(4, 7, 8, 10), "event streams", 6)
    wanted = [holder(room=("app", f"room{n}"), address=f"192.0.2.{n}") for n in range(3)]
    assert [taken(seats, one) for one in wanted] == [4, 2, 0]
    assert seats.refusal(wanted[2]).startswith("this node has 6 event streams")


def test_what_is_given_back_leaves_nothing_behind() -> None:
    seats = Seats(SeatLimits(1, 1, 1, 1), "peers")
    for n in range(1000):
        seats.take(holder(f"user{n}", f"192.0.2.{n % 250}"))
        seats.give_back(holder(f"user{n}", f"192.0.2.{n % 250}"))
    assert not seats.refusal(holder())
    assert vars(seats)["_taken"] == {}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("unknown", "unknown"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_rate() -> None:
    rate = Rate(60)
    assert [rate.take("anna", 0.0) for _ in range(60)] == [0.0] * 60
    assert rate.take("anna", 0.0) == pytest.approx(1.0)
    assert rate.take("bert", 0.0) == 0.0
    assert rate.take("anna", 1.0) == 0.0
    assert rate.take("anna", 1.0) > 0
    assert rate.take("anna", 0.5) > 0, "a clock that goes back gives nothing"
    assert sum(rate.take("anna", 100.0) == 0.0 for _ in range(100)) == 60


def test_a_rate_of_many_callers_is_bounded() -> None:
    rate = Rate(1)
    for n in range(2 * MOST_RATED_CALLERS):
        rate.take(n, float(n))
    assert len(vars(rate)["_left"]) == MOST_RATED_CALLERS


def guess(back_off: BackOff, address: str, now: float) -> bool:
    """Whether a wrong secret was looked at."""
    if back_off.wait_s(address, now) and not back_off.trusts(address, now):
        return False
    back_off.note(address, now, right=False)
    return True


def test_who_guesses_waits_longer_and_longer() -> None:
    back_off = BackOff(10)
    assert sum(guess(back_off, "192.0.2.1", 0.0) for _ in range(300)) == 11
    assert guess(back_off, "192.0.2.2", 0.0), "others are not held up"
    guesses = sum(guess(back_off, "192.0.2.1", now / 10) for now in range(10, 36_000))
    assert guesses < 3600 / LONGEST_BACK_OFF_S + 10
    assert back_off.wait_s("192.0.2.1", 3600.0) <= LONGEST_BACK_OFF_S


def test_typing_errors_of_another_day_are_forgotten() -> None:
    back_off = BackOff(2)
    for day in range(10):
        assert sum(guess(back_off, "192.0.2.1", day * 86400.0) for _ in range(2)) == 2
    assert back_off.wait_s("192.0.2.1", 9 * 86400.0) == 0


def test_guesses_do_not_close_the_operator_out_of_his_own_address() -> None:
    back_off = BackOff(2)
    back_off.note("192.0.2.1", 0.0, right=True)
    for _ in range(20):
        back_off.note("192.0.2.1", 1.0, right=False)
    assert back_off.wait_s("192.0.2.1", 2.0) > 0
    assert back_off.trusts("192.0.2.1", 2.0)
    assert not back_off.trusts("192.0.2.1", TRUST_S + 2)


def test_the_addresses_of_who_guesses_are_bounded() -> None:
    back_off = BackOff(1)
    for n in range(2 * MOST_RATED_CALLERS):
        back_off.note(f"2001:db8:{n >> 16:x}:{n & 0xFFFF:x}::1", 0.0, right=False)
    assert len(vars(back_off)["_tries"]) == MOST_RATED_CALLERS
