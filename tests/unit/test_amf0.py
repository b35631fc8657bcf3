"""AMF0: golden bytes from the specification's forms, round trip, and only Amf0Error for anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.limits import MOST_AMF_DEPTH, MOST_FILE_VALUES
from sluice.wire.amf0 import (
    Amf0Error,
    Date,
    EcmaArray,
    Undefined,
    Value,
    decode,
    encode,
)

_GOLDEN: dict[str, tuple[Value, str]] = {
    "number": (1.0, "003ff0000000000000"),
    "true": (True, "0101"),
    "false": (False, "0100"),
    "string": ("live", "0200046c697665"),
    "utf-8": ("é", "020002c3a9"),
    "null": (None, "05"),
    "undefined": (Undefined(), "06"),
    "date": (Date(1000.0), "0b408f4000000000000000"),
    "object": ({"a": 1.0}, "03000161003ff0000000000000000009"),
    "ecma array": (EcmaArray(a=True), "080000000100016101" + "01000009"),
    "strict array": ([None, "x"], "0a000000020502000178"),
}


def _values() -> st.SearchStrategy[Value]:
    scalars = (
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False)
        | st.text(max_size=20)
        | st.just(Undefined())
        | st.builds(Date, st.floats(allow_nan=False))
    )
    names = st.text(min_size=1, max_size=8)
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(names, inner, max_size=4)
            | st.dictionaries(names, inner, max_size=4).map(EcmaArray)
        ),
        max_leaves=12,
    )


@pytest.mark.parametrize("name", _GOLDEN)
def test_golden(name: str) -> None:
    value, raw = _GOLDEN[name]
    assert encode(value) == bytes.fromhex(raw)
    (decoded,) = decode(bytes.fromhex(raw))
    assert decoded == value
    assert type(decoded) is type(value)


def test_integers_become_numbers() -> None:
    assert encode(3) == encode(3.0)


def test_long_strings() -> None:
    raw = encode("x" * 70_000)
    assert raw[:5] == b"\x0c\x00\x01\x11\x70"
    assert decode(raw) == ["x" * 70_000]


def test_typed_objects_and_xml_lose_their_type() -> None:
    assert decode(b"\x10\0\4Type" + encode({"a": None})[1:]) == [{"a": None}]
    assert decode(b"\x0f\0\0\0\4<a/>") == ["<a/>"]


def test_text_in_another_code_page_is_kept_as_far_as_it_goes() -> None:
    assert decode(b"\x02\0\2\xe9t") == ["\ufffdt"]


@given(st.lists(_values(), max_size=4))
def test_round_trip(values: list[Value]) -> None:
    assert decode(encode(*values)) == values


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    try:
        decode(data)
    except Amf0Error:
        return


@pytest.mark.parametrize("name", ["number", "string", "object", "ecma array", "strict array", "date"])
def test_whatever_is_cut_off_is_an_error(name: str) -> None:
    raw = bytes.fromhex(_GOLDEN[name][1])
    for size in range(1, len(raw)):
        with pytest.raises(Amf0Error):
            decode(raw[:size])


def test_depth_is_bounded() -> None:
    with pytest.raises(Amf0Error, match="nested"):
        decode(b"\x0a\0\0\0\1" * (MOST_AMF_DEPTH + 2) + b"\5")
    value: Value = None
    for _ in range(MOST_AMF_DEPTH + 1):
        value = [value]
    with pytest.raises(Amf0Error, match="nested"):
        encode(value)


def test_the_number_of_values_is_bounded() -> None:
    with pytest.raises(Amf0Error, match="more than"):
        decode(b"\5" * (MOST_FILE_VALUES + 1))


def test_an_array_cannot_claim_more_than_there_is() -> None:
    with pytest.raises(Amf0Error, match="claims"):
        decode(b"\x0a\xff\xff\xff\xff\5")


def test_names_must_not_be_empty() -> None:
    with pytest.raises(Amf0Error, match="name of a member"):
        encode({"": None})
