"""SRTP sending: AEAD_AES_128_GCM (RFC 7714), our own because it runs for each packet.

The caller keeps the sequence state and passes the packet index. A retransmission therefore has the same bytes
by construction, and a published stream numbers its packets once for all its viewers at no cost. Never seal
two different packets under one index: GCM forbids it.
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

#: Bytes that sealing adds to a packet.
GCM_TAG = 16
GCM_KEY, GCM_SALT = 16, 12

_LABEL_KEY, _LABEL_SALT = 0x00, 0x02


def _derive(master_key: bytes, master_salt: bytes, label: int, length: int) -> bytes:
    """RFC 3711 4.3.3 with the 96-bit salt of RFC 7714 11: AES in counter mode, key derivation rate 0."""
    start = int.from_bytes(master_salt + bytes(2), "big") ^ (label << 48)
    counter = CTR((start << 16).to_bytes(16, "big"))
    return Cipher(AES128(master_key), counter).encryptor().update(bytes(length))


class GcmSender:
    """Seals RTP packets of one session. `master_key` has 16, `master_salt` 12 bytes."""

    def __init__(self, master_key: bytes, master_salt: bytes) -> None:
        self._encrypt = AESGCM(_derive(master_key, master_salt, _LABEL_KEY, GCM_KEY)).encrypt
        self._salt = int.from_bytes(_derive(master_key, master_salt, _LABEL_SALT, GCM_SALT), "big")

    def seal(
        self, ssrc: int, index: int, packet_headers: Sequence[bytes], payloads: Sequence[bytes]
    ) -> list[bytes]:
        """Seals consecutive packets. Returns ``[header, ciphertext, header, ciphertext, …]``, for the caller
        to join or the kernel to gather. `index`: the 48-bit packet index of the first one (RFC 7714 8.1)."""
        encrypt = self._encrypt
        nonce = self._salt ^ (ssrc << 48)
        sealed: list[bytes] = []
        for header, payload in zip(packet_headers, payloads, strict=True):
            sealed.append(header)
            sealed.append(encrypt((nonce ^ index).to_bytes(12, "big"), payload, header))
            index += 1
        return sealed
