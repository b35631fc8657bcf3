"""The room's media time on our clock, and when key frames are asked for."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.core.key_frames import PAUSE_S, KeyFrames
from sluice.core.room_clock import RoomClock

HOUR_US = 3_600_000_000
FRAME_US = 40_000


class TestRoomClock:
    def test_distances_are_the_rooms(self) -> None:
        clock = RoomClock()
        begin = clock.stamp(13 * HOUR_US, 500)
        assert clock.stamp(13 * HOUR_US + 20_000, 900_000) - begin == 20_000, "however late it arrives"

    @given(st.integers(-200, 200), st.integers(0, 100_000))
    def test_now_follows_a_clock_of_another_rate_for_a_day(self, ppm: int, late_us: int) -> None:
        clock, now_us, at_us = RoomClock(), 0, 0
        for second in range(0, 86_400, 60):  # a frame a minute is enough to follow by
            now_us = second * 1_000_000
            at_us = clock.stamp(now_us + now_us * ppm // 1_000_000 - (late_us if second else 0), now_us)
        assert abs(clock.now(now_us) - at_us) < 20_000 * abs(ppm) + 1_000
        assert abs(clock.now(now_us) - at_us) < 300_000

    def test_a_room_that_begins_anew_goes_on_where_ours_is(self) -> None:
        clock = RoomClock()
        for n in range(100):
            last = clock.stamp(HOUR_US + n * FRAME_US, 1_000_000 + n * FRAME_US)
        clock.begin_anew()
        now_us = 1_000_000 + 200 * FRAME_US
        assert clock.stamp(77, now_us) == now_us
        assert now_us > last
        assert clock.stamp(77 + FRAME_US, now_us + FRAME_US) == now_us + FRAME_US

    def test_a_jump_is_taken_for_another_clock_and_delay_is_not(self) -> None:
        clock = RoomClock()
        assert clock.stamp(0, 0) == 0
        assert clock.stamp(FRAME_US, 3_000_000) == FRAME_US, "3 s late"
        now_us = clock.now(4_000_000)
        assert clock.stamp(HOUR_US, 4_000_000) == now_us
        assert clock.stamp(HOUR_US + FRAME_US, 4_000_000) == now_us + FRAME_US
        assert clock.stamp(0, 4_000_000) == clock.now(4_000_000)


class TestKeyFrames:
    def test_one_is_asked_for_when_none_came(self) -> None:
        keys = KeyFrames()
        keys.on_picture(0.0, key=True)
        asked = []
        for tick in range(160):  # 10 s
            now = tick / 16
            keys.on_picture(now, key=False)
            if keys.ask(now, 4.0):
                asked.append(now)
        assert asked == [4.0, 8.0]

    def test_none_is_asked_for_while_they_come_or_no_pictures_do(self) -> None:
        keys = KeyFrames()
        assert not any(keys.ask(float(now), 4.0) for now in range(100))
        for now in range(100):
            keys.on_picture(float(now), key=now % 3 == 0)
            assert not keys.ask(float(now), 4.0)
        assert keys.ask(200.0, 4.0)
        assert not any(keys.ask(float(now), 4.0) for now in range(201, 300)), "the camera is off"

    def test_a_wanted_one_is_asked_for_until_it_comes_but_not_more_often_than_allowed(self) -> None:
        keys = KeyFrames()
        keys.on_picture(0.0, key=True)
        asked = []
        for tick in range(1, 64):
            now = tick / 16
            if tick <= 40:
                keys.want()
            else:
                keys.on_picture(now, key=True)
            if keys.ask(now, 4.0):
                asked.append(now)
        assert asked == [n * PAUSE_S + 1 / 16 for n in range(3)]
