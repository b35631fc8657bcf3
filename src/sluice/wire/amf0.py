"""AMF0, the value encoding of RTMP commands and FLV metadata (Adobe "AMF 0" specification, 2007).

Python values stand for AMF0 ones: float (and int, when encoding), bool, str, None, dict (object), list
(strict array), and the three types below. Typed objects decode to dict and XML documents to str. References
and AMF3 are not understood. Depth and number of values are bounded, so that hostile data stays cheap.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from sluice.core.limits import MOST_AMF_DEPTH, MOST_FILE_VALUES


class Amf0Error(ValueError):
    """Bytes that are no AMF0, or more of it than a command or metadata can need."""


class EcmaArray(dict[str, "Value"]):
    """An associative array (2.10); differs from an object only on the wire."""


@dataclass(frozen=True, slots=True)
class Undefined:
    """The undefined value (2.8)."""


@dataclass(frozen=True, slots=True)
class Date:
    """`ms` since the Unix epoch, UTC (2.13)."""

    ms: float


Value: TypeAlias = float | bool | str | Undefined | Date | dict[str, "Value"] | list["Value"] | None


class _Marker(IntEnum):
    """Type markers (2.1)."""

    NUMBER = 0x00
    BOOLEAN = 0x01
    STRING = 0x02
    OBJECT = 0x03
    NULL = 0x05
    UNDEFINED = 0x06
    ECMA_ARRAY = 0x08
    OBJECT_END = 0x09
    STRICT_ARRAY = 0x0A
    DATE = 0x0B
    LONG_STRING = 0x0C
    XML = 0x0F
    TYPED_OBJECT = 0x10


def encode(*values: Value) -> bytes:
    """The values one after the other. Raises Amf0Error when they are nested deeper than MOST_AMF_DEPTH."""
    out = bytearray()
    for value in values:
        _encode(out, value, 0)
    return bytes(out)


def decode(data: bytes, most_values: int = MOST_FILE_VALUES) -> list[Value]:
    """All values in `data`. Raises Amf0Error."""
    reader = _Reader(data, most_values)
    values = []
    while reader.offset < len(data):
        values.append(reader.value(0))
    return values


def _encode(out: bytearray, value: Value, depth: int) -> None:
    if depth > MOST_AMF_DEPTH:
        raise Amf0Error(f"values are nested deeper than {MOST_AMF_DEPTH}")
    match value:
        case bool():
            out += bytes((_Marker.BOOLEAN, value))
        case float() | int():
            out += struct.pack(">Bd", _Marker.NUMBER, value)
        case str():
            _encode_string(out, value)
        case None:
            out.append(_Marker.NULL)
        case Undefined():
            out.append(_Marker.UNDEFINED)
        case Date():
            out += struct.pack(">Bdh", _Marker.DATE, value.ms, 0)
        case dict():
            _encode_object(out, value, depth)
        case list():
            out += struct.pack(">BI", _Marker.STRICT_ARRAY, len(value))
            _encode_all(out, value, depth + 1)


def _encode_all(out: bytearray, values: Sequence[Value], depth: int) -> None:
    for value in values:
        _encode(out, value, depth)


def _encode_string(out: bytearray, text: str) -> None:
    raw = text.encode("utf-8", "replace")
    if len(raw) < 0x10000:
        out += struct.pack(">BH", _Marker.STRING, len(raw)) + raw
    else:
        out += struct.pack(">BI", _Marker.LONG_STRING, len(raw)) + raw


def _encode_object(out: bytearray, value: dict[str, Value], depth: int) -> None:
    if isinstance(value, EcmaArray):
        out += struct.pack(">BI", _Marker.ECMA_ARRAY, len(value))
    else:
        out.append(_Marker.OBJECT)
    for name, member in value.items():
        raw = name.encode("utf-8", "replace")
        if not 0 < len(raw) < 0x10000:
            raise Amf0Error("the name of a member is empty or longer than 65535 bytes")
        out += struct.pack(">H", len(raw)) + raw
        _encode(out, member, depth + 1)
    out += bytes((0, 0, _Marker.OBJECT_END))


class _Reader:
    def __init__(self, data: bytes, most_values: int) -> None:
        self.offset = 0
        self._data = data
        self._most_values = self._values_left = most_values

    def value(self, depth: int) -> Value:
        self._values_left -= 1
        if depth > MOST_AMF_DEPTH or self._values_left < 0:
            raise Amf0Error(f"more than {self._most_values} values, or nested deeper than {MOST_AMF_DEPTH}")
        marker = self._take(1)[0]
        match marker:
            case _Marker.NUMBER:
                return self._number()
            case _Marker.BOOLEAN:
                return self._take(1) != b"\0"
            case _Marker.STRING:
                return self._text(2)
            case _Marker.LONG_STRING | _Marker.XML:
                return self._text(4)
            case _Marker.NULL:
                return None
            case _Marker.UNDEFINED:
                return Undefined()
            case _Marker.DATE:
                ms = self._number()
                self._take(2)  # time zone: reserved, should be 0 (2.13)
                return Date(ms)
            case _:
                return self._compound(marker, depth)

    def _compound(self, marker: int, depth: int) -> Value:
        if marker == _Marker.OBJECT:
            return self._members({}, depth)
        if marker == _Marker.TYPED_OBJECT:
            self._text(2)  # class name
            return self._members({}, depth)
        if marker == _Marker.ECMA_ARRAY:
            self._take(4)  # the count is a hint only: the end marker decides (2.10)
            return self._members(EcmaArray(), depth)
        if marker == _Marker.STRICT_ARRAY:
            count = int.from_bytes(self._take(4), "big")
            if count > len(self._data) - self.offset:
                raise Amf0Error("an array claims more values than there are bytes")
            return [self.value(depth + 1) for _ in range(count)]
        raise Amf0Error(f"a value of type 0x{marker:02x} is not understood")

    def _members(self, into: dict[str, Value], depth: int) -> dict[str, Value]:
        while True:
            name = self._text(2)
            if not name and self._data[self.offset : self.offset + 1] == bytes((_Marker.OBJECT_END,)):
                self.offset += 1
                return into
            into[name] = self.value(depth + 1)

    def _number(self) -> float:
        (number,) = struct.unpack(">d", self._take(8))
        return float(number)

    def _text(self, length_size: int) -> str:
        length = int.from_bytes(self._take(length_size), "big")
        # Encoders write metadata in local code pages too; a strange title must not cost the stream.
        return self._take(length).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        end = self.offset + count
        if end > len(self._data):
            raise Amf0Error("the data ends in the middle of a value")
        taken = self._data[self.offset : end]
        self.offset = end
        return taken
