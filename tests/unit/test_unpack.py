"""Packed answers, as odd servers make them."""

import gzip
import io

from sluice.net.unpack import Unpacker


def test_thousands_of_empty_gzip_members_say_nothing() -> None:
    packed = gzip.compress(b"") * 20_000 + gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two")
    unpacker, data = Unpacker(["gzip"], io.BytesIO(packed).read), b""
    while piece := unpacker.read(4096):
        data += piece
    assert data == b"onetwo"
