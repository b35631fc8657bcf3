"""Our sealing of SRTP (RFC 7714) is libsrtp's, byte for byte, over roll-overs too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from sluice.wire.rtp import headers
from sluice.wire.srtp import GCM_KEY, GCM_SALT, GCM_TAG, GcmSender

SSRC = 0xDECAFBAD
#: More than half of 2^16 packets cannot be jumped over without losing count (RFC 3711 3.3.1).
STRIDE = 0x7FFF

keys = st.tuples(
    st.binary(min_size=GCM_KEY, max_size=GCM_KEY), st.binary(min_size=GCM_SALT, max_size=GCM_SALT)
)


def libsrtp(key: bytes, salt: bytes, direction: int) -> Session:
    return Session(Policy(key + salt, direction, srtp_profile=Policy.SRTP_PROFILE_AEAD_AES_128_GCM))


def sealed_by_us(sender: GcmSender, index: int, payload: bytes) -> tuple[bytes, bytes]:
    (header,) = headers(102, index, 90 * index & 0xFFFFFFFF, SSRC, 1)
    return header, b"".join(sender.seal(SSRC, index, [header], [payload]))


@given(keys, st.integers(0, 0xFFFF), st.binary(max_size=1200))
def test_equals_libsrtp(key_and_salt: tuple[bytes, bytes], index: int, payload: bytes) -> None:
    header, sealed = sealed_by_us(GcmSender(*key_and_salt), index, payload)
    assert sealed == libsrtp(*key_and_salt, Policy.SSRC_ANY_OUTBOUND).protect(header + payload)
    assert len(sealed) == len(header) + len(payload) + GCM_TAG
    assert libsrtp(*key_and_salt, Policy.SSRC_ANY_INBOUND).unprotect(sealed) == header + payload


@pytest.mark.parametrize("first", [0, 0x7FF0, 0xFFFE])
def test_counts_roll_overs_as_libsrtp_does(first: int) -> None:
    key, salt = bytes(range(16)), bytes(range(100, 112))
    sender = GcmSender(key, salt)
    out = libsrtp(key, salt, Policy.SSRC_ANY_OUTBOUND)
    receiver = libsrtp(key, salt, Policy.SSRC_ANY_INBOUND)
    for index in range(first, first + 9 * STRIDE, STRIDE):
        header, sealed = sealed_by_us(sender, index, b"payload")
        assert sealed == out.protect(header + b"payload")
        assert receiver.unprotect(sealed) == header + b"payload"


def test_seals_the_packets_of_a_frame_with_consecutive_indices() -> None:
    sender = GcmSender(bytes(16), bytes(12))
    heads, payloads = headers(102, 0xFFFE, 1, SSRC, 4), [bytes([n]) * 9 for n in range(4)]
    together = sender.seal(SSRC, 0xFFFE, heads, payloads)
    apart = [
        part
        for n in range(4)
        for part in sender.seal(SSRC, 0xFFFE + n, heads[n : n + 1], payloads[n : n + 1])
    ]
    assert together == apart
    assert together[0::2] == heads
    assert len(set(together[1::2])) == 4


def test_headers_and_payloads_belong_together() -> None:
    with pytest.raises(ValueError, match="shorter"):
        GcmSender(bytes(16), bytes(12)).seal(SSRC, 0, headers(102, 0, 0, SSRC, 2), [b"one"])
