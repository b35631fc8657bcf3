"""Whether pictures come as they are shown: by the headers of slices as x264 writes them."""

import pytest

from sluice.wire.h264 import H264Error, SliceType, Sps, slice_head
from sluice.wire.picture_order import PictureOrder

#: Three B-frames between two P-frames (bframes=3:b-adapt=0), the pictures 0, 4, 2, 1, 3, 6, 5.
B_FRAMES = [
    "6764000cacd941419a1000000300100000030320f1429960 68ebe3cb22c0 658884002bfffef6737c",
    "419a2461180b602510af",
    "419e4278857ff28b1c9e",
    "019e6174429ffe5cfa92",
    "019e636a42bfad35582b",
    "419a664ba842105a21f0",
    "019e856a42bf8569ec15",
]
#: For real time (tune=zerolatency), and interlaced: both in one order.
REAL_TIME = [
    "6742c00cda05066840000003004000000ca3c50aa8 68ce0fc8 6588843a26280008e0c9",
    "419a202aa270700011f0",
    "419a402aa27f8c8a0004",
]
INTERLACED = [
    "674d4015f40a19a1000003000100000300321f142aa0 68de0fc8 6588822c3a9314000470",
    "419a23602ab138380008",
    "419a45602ab13e27fe32",
]


def units(picture: str) -> list[bytes]:
    return [bytes.fromhex(unit) for unit in picture.split()]


def looks_back(*pictures: str) -> list[bool]:
    order = PictureOrder()
    return [order.goes_back(units(picture)) for picture in pictures]


def test_b_frames_go_back() -> None:
    assert looks_back(*B_FRAMES) == [False, False, True, True, True, False, True]


@pytest.mark.parametrize("pictures", [REAL_TIME, INTERLACED])
def test_pictures_in_one_order_never_do(pictures: list[str]) -> None:
    # The counts wrap at 16 and start anew with each IDR picture.
    assert not any(looks_back(*pictures * 3))


def test_slices_whose_parameter_sets_nobody_knows_are_not_judged() -> None:
    assert looks_back(*B_FRAMES[1:]) == [False] * 6
    assert looks_back(B_FRAMES[0].split()[0], *B_FRAMES[1:]) == [False] * 7


def test_what_cannot_be_read_is_not_judged() -> None:
    assert looks_back(B_FRAMES[0], "41", "41e0", "4180") == [False] * 4


def test_slice_heads() -> None:
    sps, _, idr = units(B_FRAMES[0])
    parsed = Sps.parse(sps)
    assert (slice_head(idr, parsed).slice_type, slice_head(idr, parsed).order) == (SliceType.I, 0)
    heads = [slice_head(units(picture)[0], parsed) for picture in B_FRAMES[1:]]
    assert [head.order // 2 for head in heads] == [4, 2, 1, 3, 6, 5]
    assert heads[1].slice_type is SliceType.B
    with pytest.raises(H264Error):
        slice_head(sps, parsed)
