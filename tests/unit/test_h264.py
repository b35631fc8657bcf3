"""H.264 parsing: parameter sets and slices that x264 wrote, and anything else raises H264Error."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.wire.h264 import AvcConfig, H264Error, SliceType, Sps, slice_type, split_annexb, split_avcc

#: x264 on testsrc: configuration record, profile, level, width, height.
_CONFIGS = {
    "baseline": (
        "0142c01fffe100196742c01fd9005005bb011000000300100000030320f183248001000568cb83cb20",
        (66, 31, 1280, 720),
    ),
    "main, height cropped": (
        "014d4028ffe1001a674d4028eca03c0113f2e022000003000200000300641e30632c01000568ebe3cb20",
        (77, 40, 1920, 1080),
    ),
    "high, both sides cropped": (
        "0164001effe1001a6764001eacd940a02fea6c0440000003004000000c83c58b658001000668ebe3cb22c0fdf8f800",
        (100, 30, 638, 358),
    ),
    "interlaced": (
        "0164001effe100186764001eacd940b424d8088000000300800000190f8a14cb01000668fba3cb22c0fdf8f800",
        (100, 30, 720, 576),
    ),
    "4:4:4": (
        "01f4001effe1001b67f4001e919640290bf8f9f011000003000100000300320f162e4801000668ebc3c44844fff8f800",
        (244, 30, 642, 362),
    ),
    "4:2:2": (
        "017a000dffe10019677a000dbcb202a33c445e0220000003002000000641e2854901000768ebc3cb3002c0fef8f800",
        (122, 13, 322, 182),
    ),
}
_BASELINE = bytes.fromhex(_CONFIGS["baseline"][0])


class _BitWriter:
    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> None:
        self.bits += format(value, f"0{count}b")

    def ue(self, *values: int) -> None:
        for value in values:
            code = format(value + 1, "b")
            self.bits += "0" * (len(code) - 1) + code

    def nal(self, header: int) -> bytes:
        padded = self.bits + "1" + "0" * (-(len(self.bits) + 1) % 8)
        body = int(padded, 2).to_bytes(len(padded) // 8, "big")
        escaped = bytearray()
        for byte in body:
            if len(escaped) >= 2 and escaped[-2:] == b"\0\0" and byte <= 3:
                escaped.append(3)
            escaped.append(byte)
        return bytes((header, *escaped))


@pytest.mark.parametrize("name", _CONFIGS)
def test_configuration_record_and_sps(name: str) -> None:
    record, expected = _CONFIGS[name]
    config = AvcConfig.parse(bytes.fromhex(record))
    assert config.length_size == 4
    assert len(config.sps) == len(config.pps) == 1
    assert config.sps[0][0] & 0x1F == 7
    assert config.pps[0][0] & 0x1F == 8
    sps = Sps.parse(config.sps[0])
    assert (sps.profile_idc, sps.level_idc, sps.width, sps.height) == expected


def test_sps_with_scaling_lists_and_the_second_kind_of_picture_order() -> None:
    bits = _BitWriter()
    bits.u(24, 100 << 16 | 30)
    bits.ue(0, 1, 0, 0)  # id, 4:2:0, bit depths
    bits.u(2, 0b01)  # no bypass, scaling matrix
    bits.u(1, 1)
    bits.ue(*[0] * 16)  # sixteen deltas of 0
    bits.u(1, 1)
    bits.ue(16)  # a delta of -8: use the default list
    bits.u(6, 0)
    bits.ue(0, 1)  # frame number bits, picture order type 1
    bits.u(1, 0)
    bits.ue(0, 0, 2, 0, 0)
    bits.ue(1)
    bits.u(1, 0)
    bits.ue(39, 29)
    bits.u(4, 0b1100)  # frames only, direct 8x8, no cropping, no VUI
    assert Sps.parse(bits.nal(0x67)) == Sps(
        *(100, 30, 640, 480),
        separate_planes=False,
        frame_number_bits=4,
        order_type=1,
        order_bits=0,
        frames_only=True,
    )


@pytest.mark.parametrize(
    ("nal", "expected"),
    [
        ("6588840af2628000", SliceType.I),
        ("419a3815e062ec34", SliceType.P),
        ("419e4178857f0000", SliceType.B),
        ("019e626a42bf0000", SliceType.B),
    ],
)
def test_slice_types(nal: str, expected: SliceType) -> None:
    assert slice_type(bytes.fromhex(nal)) is expected
    assert slice_type(memoryview(bytes.fromhex(nal))) is expected


@pytest.mark.parametrize(
    ("told", "shifted", "seen", "reorders"),
    [
        (None, False, False, False),
        (None, True, False, True),
        (0, True, False, False),
        (0, True, True, True),
        (2, False, False, True),
    ],
)
def test_one_rule_tells_whether_pictures_are_reordered(
    told: int | None, shifted: bool, seen: bool, reorders: bool
) -> None:
    sps = Sps(100, 31, 640, 360, False, 4, 0, 6, True, told)
    assert sps.reorders(shifted=shifted, seen=seen) is reorders
    assert not replace(sps, profile_idc=66).reorders(shifted=True, seen=True)


def test_slice_type_of_another_unit_is_an_error() -> None:
    with pytest.raises(H264Error, match="no slice"):
        slice_type(AvcConfig.parse(_BASELINE).sps[0])


@pytest.mark.parametrize("length_size", [1, 2, 4])
@given(units=st.lists(st.binary(min_size=1, max_size=200)))
def test_length_fields_round_trip(length_size: int, units: list[bytes]) -> None:
    au = b"".join(len(unit).to_bytes(length_size, "big") + unit for unit in units)
    assert split_avcc(au, length_size) == units


def test_empty_units_are_left_out() -> None:
    assert split_avcc(b"\0\0\0\0\0\0\0\1\x65", 4) == [b"\x65"]


@pytest.mark.parametrize("au", [b"\0\0\0\5abcd", b"\0\0\0", b"\0\0\0\1a\0", b"\xff\xff\xff\xff"])
def test_lengths_beyond_the_access_unit_are_errors(au: bytes) -> None:
    with pytest.raises(H264Error, match="longer than its access unit"):
        split_avcc(au, 4)


def test_annexb_with_both_start_codes_and_padding() -> None:
    data = b"\0\0\0\1\x67\x42\0\0\1\x68\xce\0\0\0\0\1\x65\x88\0\0"
    assert split_annexb(data) == [b"\x67\x42", b"\x68\xce", b"\x65\x88"]
    assert split_annexb(b"") == []


@pytest.mark.parametrize("data", [b"\x65\x88", b"x\0\0\1\x65"])
def test_annexb_must_begin_with_a_start_code(data: bytes) -> None:
    with pytest.raises(H264Error, match="start code"):
        split_annexb(data)


@pytest.mark.parametrize("size", range(len(_BASELINE)))
def test_a_record_that_is_cut_off_is_an_error(size: int) -> None:
    with pytest.raises(H264Error):
        AvcConfig.parse(_BASELINE[:size])


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [(0, 0, "version"), (4, 0xFE, "3 bytes"), (5, 0xE0, "lacks"), (6, 0xFF, "cut off")],
)
def test_a_record_that_is_wrong_is_an_error(offset: int, value: int, why: str) -> None:
    record = bytearray(_BASELINE)
    record[offset] = value
    with pytest.raises(H264Error, match=why):
        AvcConfig.parse(bytes(record))


@given(st.binary(max_size=100))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    for parse in (
        AvcConfig.parse,
        Sps.parse,
        slice_type,
        split_annexb,
        lambda raw: split_avcc(raw, 4),
        lambda raw: Sps.parse(b"\x67" + raw),
        lambda raw: slice_type(b"\x41" + raw),
    ):
        try:
            parse(data)
        except H264Error:
            continue


@given(st.integers(0, 24), st.integers(0, 255))
def test_a_damaged_sps_raises_nothing_else(offset: int, value: int) -> None:
    sps = bytearray(AvcConfig.parse(_BASELINE).sps[0])
    sps[offset] = value
    try:
        Sps.parse(bytes(sps))
    except H264Error:
        return
