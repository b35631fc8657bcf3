"""H.264 as containers carry it: configuration records, length-prefixed and Annex B units, SPS, slice types.

Sources: ITU-T H.264 (7.3 syntax, 7.4 semantics, Annex B) and ISO/IEC 14496-15 (5.3.3 decoder configuration).
Only what a relay needs is read: picture size, profile, level, whether a slice is a B slice, and what says in
which order pictures are shown. Whatever is malformed raises H264Error; nothing is guessed.
"""

import re
from dataclasses import dataclass
from enum import IntEnum

#: No level of H.264 allows a side longer than this (table A-1: sqrt(8 * MaxFS) macroblocks at level 6.2).
_MOST_PIXELS = 16880
_START_CODE = re.compile(rb"\x00\x00\x01")

NAL_SLICE, NAL_PARTITION_A, NAL_IDR, NAL_SEI, NAL_SPS, NAL_PPS = 1, 2, 5, 6, 7, 8
#: Units that begin a coded slice.
SLICES = frozenset({NAL_SLICE, NAL_PARTITION_A, NAL_IDR})

#: Profiles whose SPS carries the chroma and scaling fields (7.3.2.1.1).
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class H264Error(ValueError):
    """Bytes that are no H.264 of the named form; the text says what is wrong with them."""


class SliceType(IntEnum):
    """Table 7-6, without the second set (5..9), which means the same."""

    P = 0
    B = 1
    I = 2  # noqa: E741 - the standard's name
    SP = 3
    SI = 4


_BASELINE = 66  #: profile_idc


@dataclass(frozen=True, slots=True)
class Sps:
    """Picture size in pixels after cropping, `profile_idc` and `level_idc` (31 = level 3.1).

    Slice headers depend on the next five: `frame_number_bits` and `order_bits` are widths of their fields,
    the latter 0 where no picture order count is sent (only pic_order_cnt_type 0 sends one). `reorder_frames`:
    by how many pictures output order differs from decoding order, None where the SPS does not tell (E.2.1).
    """

    profile_idc: int
    level_idc: int
    width: int
    height: int
    separate_planes: bool
    frame_number_bits: int
    order_type: int
    order_bits: int
    frames_only: bool
    reorder_frames: int | None = None

    @property
    def allows_b_slices(self) -> bool:
        """The Baseline profile has none (A.2.1)."""
        return self.profile_idc != _BASELINE

    def reorders(self, *, shifted: bool, seen: bool = False) -> bool:
        """Whether decoding order differs from output order. `shifted`: PTS and DTS differ; it counts only
        where the SPS does not tell, since encoders without B-frames may shift all times by a constant.
        `seen`: a picture came after one with a later PTS; it counts whatever the SPS tells."""
        told = bool(self.reorder_frames) if self.reorder_frames is not None else shifted
        return (told or seen) and self.allows_b_slices

    @classmethod
    def parse(cls, nal: bytes | memoryview) -> "Sps":
        """`nal` with its header byte. Raises H264Error. (7.3.2.1.1)"""
        if len(nal) < 4 or nal[0] & 0x1F != NAL_SPS:
            raise H264Error("this is no sequence parameter set")
        bits = _Bits(_unescape(nal[1:]))
        profile, _constraints, level = bits.take(8), bits.take(8), bits.take(8)
        bits.ue()  # seq_parameter_set_id
        chroma, separate = _read_chroma(bits) if profile in _HIGH_PROFILES else (1, False)
        frame_number_bits = bits.ue() + 4
        order_type, order_bits = _read_picture_order(bits)
        bits.ue()  # max_num_ref_frames
        bits.take(1)  # gaps_in_frame_num_value_allowed_flag
        width, height_units = (bits.ue() + 1) * 16, (bits.ue() + 1) * 16
        frames_only = bits.take(1)
        if not frames_only:
            bits.take(1)  # mb_adaptive_frame_field_flag
        bits.take(1)  # direct_8x8_inference_flag
        height = height_units * (2 - frames_only)
        if bits.take(1):  # frame_cropping_flag
            left, right, top, bottom = bits.ue(), bits.ue(), bits.ue(), bits.ue()
            unit_x, unit_y = _CROP_UNITS[chroma]
            width -= (left + right) * unit_x
            height -= (top + bottom) * unit_y * (2 - frames_only)
        if not (0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS):
            raise H264Error(f"the sequence parameter set gives an impossible picture size ({width}x{height})")
        return cls(
            *(profile, level, width, height),
            separate_planes=separate,
            frame_number_bits=frame_number_bits,
            order_type=order_type,
            order_bits=order_bits,
            frames_only=bool(frames_only),
            reorder_frames=_reorder_frames(bits),
        )


@dataclass(frozen=True, slots=True)
class AvcConfig:
    """The parameter sets of a stream (NAL units with header byte) and the size of its length fields."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    length_size: int

    @classmethod
    def parse(cls, avcc: bytes) -> "AvcConfig":
        """An AVCDecoderConfigurationRecord; what follows the PPS is not looked at. Raises H264Error."""
        if len(avcc) < 7 or avcc[0] != 1:
            raise H264Error("the H.264 configuration record is too short or of an unknown version")
        length_size = (avcc[4] & 3) + 1
        if length_size == 3:
            raise H264Error("the H.264 configuration record asks for length fields of 3 bytes")
        sps, offset = _read_sets(avcc, 6, avcc[5] & 0x1F)
        if offset >= len(avcc):
            raise H264Error("the H.264 configuration record ends before its picture parameter sets")
        pps, _ = _read_sets(avcc, offset + 1, avcc[offset])
        if not sps or not pps:
            raise H264Error("the H.264 configuration record lacks parameter sets")
        return cls(sps, pps, length_size)


def split_avcc(au: bytes | memoryview, length_size: int) -> list[bytes | memoryview]:
    """The NAL units of an access unit with length fields, as views of `au`; empty ones are left out.

    Raises H264Error when a length reaches beyond the access unit.
    """
    view, units, offset = memoryview(au), list[bytes | memoryview](), 0
    while offset < len(view):
        start = offset + length_size
        end = start + int.from_bytes(view[offset:start], "big")
        if start > len(view) or end > len(view):
            raise H264Error("a NAL unit is longer than its access unit")
        if end > start:
            units.append(view[start:end])
        offset = end
    return units


def split_annexb(data: bytes) -> list[bytes]:
    """The NAL units between start codes, without the zero bytes that pad them (B.1). Raises H264Error."""
    starts = [match.end() for match in _START_CODE.finditer(data)]
    if (starts and data[: starts[0] - 3].strip(b"\0")) or (data and not starts):
        raise H264Error("the data does not begin with an Annex B start code")
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    units = (data[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=False))
    return [unit for unit in units if unit]


def slice_type(nal: bytes | memoryview) -> SliceType:
    """The type of a coded slice (NAL types 1, 2 and 5). Raises H264Error for other units. (7.3.3)"""
    return _slice_begin(nal)[0]


@dataclass(frozen=True, slots=True)
class SliceHead:
    """A part of a slice header (7.3.3); `order` is pic_order_cnt_lsb, 0 where none is sent."""

    slice_type: SliceType
    order: int


def begins_picture(nal: bytes | memoryview) -> bool:
    """Whether a coded slice is a picture's first: first_mb_in_slice is 0, which is a single bit 1 (9.1)."""
    return len(nal) > 1 and nal[1] >= 0x80


def pps_of_slice(nal: bytes | memoryview) -> int:
    """The id of the picture parameter set of a coded slice. Raises H264Error."""
    return _slice_begin(nal)[1].ue()


def slice_head(nal: bytes | memoryview, sps: Sps) -> SliceHead:
    """The head of a coded slice (NAL types 1, 2 and 5) that refers to `sps`. Raises H264Error."""
    kind, bits = _slice_begin(nal)
    bits.ue()  # pic_parameter_set_id
    if sps.separate_planes:
        bits.take(2)  # colour_plane_id
    bits.take(sps.frame_number_bits)
    if not sps.frames_only and bits.take(1):  # field_pic_flag
        bits.take(1)  # bottom_field_flag
    if nal[0] & 0x1F == NAL_IDR:
        bits.ue()  # idr_pic_id
    return SliceHead(kind, bits.take(sps.order_bits))


class _Bits:
    """Reads a raw byte sequence payload from its first bit on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise H264Error("the data ends in the middle of a field")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """Unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise H264Error("an Exp-Golomb code is longer than the standard allows")
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self) -> int:
        """Signed Exp-Golomb code (9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _slice_begin(nal: bytes | memoryview) -> tuple[SliceType, _Bits]:
    """The slice's type, and a reader of the fields that follow it."""
    if not nal or nal[0] & 0x1F not in SLICES:
        raise H264Error("this NAL unit is no slice")
    # At most four Exp-Golomb codes and a few bits are read; these bytes hold them, even escaped.
    bits = _Bits(_unescape(nal[1:49]))
    bits.ue()  # first_mb_in_slice
    value = bits.ue()
    if value > 9:
        raise H264Error(f"slice type {value} does not exist")
    return SliceType(value % 5), bits


_EXTENDED_SAR = 255
_MOST_CPB = 32
#: Width and height of the cropping unit by chroma_format_idc (table 6-1, equations 7-19 to 7-22).
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}


def _read_chroma(bits: _Bits) -> tuple[int, bool]:
    """The chroma format for the cropping unit, and whether planes are coded separately; such planes count as
    monochrome (7.4.2.1.1)."""
    chroma = bits.ue()
    if chroma > 3:
        raise H264Error(f"chroma format {chroma} does not exist")
    separate = chroma == 3 and bits.take(1)
    bits.ue()  # bit_depth_luma_minus8
    bits.ue()  # bit_depth_chroma_minus8
    bits.take(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.take(1):  # seq_scaling_matrix_present_flag
        for index in range(8 if chroma != 3 else 12):
            if bits.take(1):
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return (0, True) if separate else (chroma, False)


def _reorder_frames(bits: _Bits) -> int | None:
    """max_num_reorder_frames of the VUI (E.1.1); None where it is not there, or damaged."""
    try:
        if not bits.take(1) or not _skip_to_restriction(bits):
            return None
        bits.take(1)  # motion_vectors_over_pic_boundaries_flag
        for _ in range(4):  # max_bytes_per_pic_denom to log2_max_mv_length_vertical
            bits.ue()
        return bits.ue()
    except H264Error:
        return None


def _skip_to_restriction(bits: _Bits) -> bool:
    """Whether the VUI has the fields of bitstream_restriction_flag; reads up to them."""
    if bits.take(1) and bits.take(8) == _EXTENDED_SAR:
        bits.take(32)
    if bits.take(1):  # overscan_info_present_flag
        bits.take(1)
    if bits.take(1):  # video_signal_type_present_flag
        bits.take(4)
        if bits.take(1):  # colour_description_present_flag
            bits.take(24)
    if bits.take(1):  # chroma_loc_info_present_flag
        bits.ue()
        bits.ue()
    if bits.take(1):  # timing_info_present_flag
        bits.take(65)
    nal, vcl = _skip_hrd(bits), _skip_hrd(bits)
    if nal or vcl:
        bits.take(1)  # low_delay_hrd_flag
    bits.take(1)  # pic_struct_present_flag
    return bool(bits.take(1))


def _skip_hrd(bits: _Bits) -> bool:
    """Reads over HRD parameters (E.1.2), if they are there."""
    if not bits.take(1):
        return False
    count = bits.ue() + 1
    if count > _MOST_CPB:
        raise H264Error("the sequence parameter set lists more than 32 buffers")
    bits.take(8)
    for _ in range(count):
        bits.ue()
        bits.ue()
        bits.take(1)
    bits.take(20)
    return True


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last, following = 8, 8
    for _ in range(size):  # 7.3.2.1.1.1
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _read_picture_order(bits: _Bits) -> tuple[int, int]:
    """pic_order_cnt_type, and the bits of pic_order_cnt_lsb in slice headers."""
    kind = bits.ue()
    if kind == 0:
        return kind, bits.ue() + 4
    if kind == 1:
        bits.take(1)  # delta_pic_order_always_zero_flag
        bits.se()  # offset_for_non_ref_pic
        bits.se()  # offset_for_top_to_bottom_field
        count = bits.ue()
        if count > 255:
            raise H264Error("the sequence parameter set lists more than 255 reference frame offsets")
        for _ in range(count):
            bits.se()
    elif kind > 2:
        raise H264Error(f"picture order count type {kind} does not exist")
    return kind, 0


def _read_sets(avcc: bytes, offset: int, count: int) -> tuple[tuple[bytes, ...], int]:
    """`count` NAL units with 16-bit lengths from `offset` on, and the offset behind them."""
    units: list[bytes] = []
    for _ in range(count):
        end = offset + 2 + int.from_bytes(avcc[offset : offset + 2], "big")
        if offset + 2 > len(avcc) or end > len(avcc) or end == offset + 2:
            raise H264Error("a parameter set in the H.264 configuration record is empty or cut off")
        units.append(avcc[offset + 2 : end])
        offset = end
    return tuple(units), offset


def _unescape(data: bytes | memoryview) -> bytes:
    """The payload without its emulation prevention bytes (7.4.1)."""
    return bytes(data).replace(b"\0\0\3", b"\0\0")
