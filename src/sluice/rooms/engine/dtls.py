"""DTLS-SRTP (RFC 5764) over datagrams that the caller moves: no socket, no timer of its own.

`begin` is called once the peer can be reached; `handle` takes a datagram and answers with those to send;
`on_timer` is called now and then until the handshake is over, for retransmissions. The peer's certificate
must match a fingerprint of its offer, compared before any key is exported.
"""

import datetime
import hmac
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from sluice.wire.sdp_transport import Fingerprints
from sluice.wire.srtp import GCM_KEY, GCM_SALT

_GCM, _CM = b"SRTP_AEAD_AES_128_GCM", b"SRTP_AES128_CM_SHA1_80"
#: (key, salt) lengths in bytes for each profile (RFC 7714 12, RFC 5764 4.1.2).
_LENGTHS = {_GCM: (GCM_KEY, GCM_SALT), _CM: (16, 14)}
_MTU = 1200
_RECORD_HEAD = 13


class DtlsError(Exception):
    """The handshake failed; the peer cannot be served."""


@dataclass(frozen=True, slots=True)
class SrtpKeys:
    """Master keys and salts of both directions; `gcm` tells AEAD_AES_128_GCM from AES_CM_128_HMAC_SHA1_80."""

    gcm: bool
    send_key: bytes
    send_salt: bytes
    receive_key: bytes
    receive_salt: bytes


class DtlsIdentity:
    """A self-signed ECDSA certificate, made anew for each process, and the TLS context that shows it."""

    def __init__(self, now: datetime.datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sluice")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=365))
            .sign(key, hashes.SHA256())
        )
        self.fingerprint = f"sha-256 {certificate.fingerprint(hashes.SHA256()).hex(':').upper()}"
        context = SSL.Context(SSL.DTLS_METHOD)
        context.use_privatekey(key)
        context.use_certificate(certificate)
        # The chain proves nothing here: a WebRTC certificate is proven by the offer's fingerprint.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
        context.set_tlsext_use_srtp(b":".join((_GCM, _CM)))
        self.context = context


_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha-224": hashes.SHA224,
    "sha-256": hashes.SHA256,
    "sha-384": hashes.SHA384,
    "sha-512": hashes.SHA512,
}


class Dtls:
    """One handshake and what follows it. `client`: we begin it. `keys` is set once the peer has proven
    itself."""

    def __init__(self, identity: DtlsIdentity, peer: Fingerprints, *, client: bool) -> None:
        self.keys: SrtpKeys | None = None
        self.closed = False
        self._peer = peer
        self._client = client
        self._connection = SSL.Connection(identity.context, None)
        if client:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()
        self._connection.set_ciphertext_mtu(_MTU)

    def begin(self) -> list[bytes]:
        """The datagrams that begin the handshake, if that is ours to do. Raises DtlsError."""
        if not self._client:
            return []
        self._handshake()
        return self._flight()

    def handle(self, datagram: bytes) -> list[bytes]:
        """The datagrams to send in answer. Raises DtlsError when the handshake cannot succeed."""
        self._connection.bio_write(datagram)
        if self.keys is None:
            self._handshake()
        else:
            self._read()
        return self._flight()

    def on_timer(self) -> list[bytes]:
        """Retransmits the last flight when its time is up (RFC 6347 4.2.4). Raises DtlsError."""
        if self.keys is None and self._connection.DTLSv1_get_timeout() == 0:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error as error:
                raise DtlsError(f"DTLS handshake failed: {error}") from error
            return self._flight()
        return []

    def close(self) -> list[bytes]:
        """The close_notify alert, so that the peer knows at once."""
        if self.keys is not None and not self.closed:
            self.closed = True
            try:
                self._connection.shutdown()
            except SSL.Error:
                return []
            return self._flight()
        return []

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        except SSL.Error as error:
            raise DtlsError(f"DTLS handshake failed: {error}") from error
        self._check_fingerprint()
        self._export_keys()

    def _check_fingerprint(self) -> None:
        try:
            certificate = self._connection.get_peer_certificate(as_cryptography=True)
        except ValueError as error:
            raise DtlsError(f"the peer's certificate cannot be read: {error}") from error
        if certificate is None:
            raise DtlsError("the peer showed no certificate")
        shown = certificate.fingerprint(_HASHES[self._peer.algorithm]())
        if not any(hmac.compare_digest(shown, digest) for digest in self._peer.digests):
            raise DtlsError("the peer's certificate does not match the fingerprint of its offer")

    def _export_keys(self) -> None:
        profile = self._connection.get_selected_srtp_profile()
        if profile not in _LENGTHS:
            raise DtlsError("the peer and the server have no SRTP profile in common")
        key, salt = _LENGTHS[profile]
        material = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
        # RFC 5764 4.2: client key, server key, client salt, server salt.
        salts = material[2 * key :]
        clients, servers = (material[:key], salts[:salt]), (material[key : 2 * key], salts[salt:])
        sent, received = (clients, servers) if self._client else (servers, clients)
        self.keys = SrtpKeys(profile == _GCM, *sent, *received)

    def _read(self) -> None:
        try:
            while True:  # whatever a datagram holds: nothing may pile up
                self._connection.recv(_MTU)
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            raise DtlsError(f"DTLS failed: {error}") from error

    def _flight(self) -> list[bytes]:
        """What OpenSSL wants to send, cut at record borders into datagrams below the MTU."""
        try:
            data = self._connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return []
        datagrams: list[bytes] = []
        start = end = 0
        while end < len(data):
            size = _RECORD_HEAD + int.from_bytes(data[end + 11 : end + 13], "big")
            if end > start and end + size - start > _MTU:
                datagrams.append(data[start:end])
                start = end
            end += size
        datagrams.append(data[start:])
        return datagrams
