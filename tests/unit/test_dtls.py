"""Two of our own DTLS sides, one in each role, and what proves a peer. Datagrams are handed over by hand."""

import datetime

import pytest
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL

from sluice.rooms.engine.dtls import Dtls, DtlsError, DtlsIdentity, SrtpKeys
from sluice.wire.sdp_transport import Fingerprints

NOW = datetime.datetime.now(datetime.UTC)
WRONG = bytes(32)


def digest(identity: DtlsIdentity, kind: hashes.HashAlgorithm) -> bytes:
    connection = SSL.Connection(identity.context, None)
    certificate = connection.get_certificate(as_cryptography=True)
    assert certificate is not None
    return certificate.fingerprint(kind)


def proof(identity: DtlsIdentity, *others: bytes) -> Fingerprints:
    return Fingerprints("sha-256", (*others, digest(identity, hashes.SHA256())))


def shake(client: Dtls, server: Dtls) -> None:
    """Until both have their keys and nothing is on its way any more. Raises DtlsError."""
    assert server.begin() == []
    to_server = client.begin()
    while to_server:
        to_client = [answer for datagram in to_server for answer in server.handle(datagram)]
        to_server = [answer for datagram in to_client for answer in client.handle(datagram)]


def test_both_roles_agree_on_keys() -> None:
    ours, theirs = DtlsIdentity(NOW), DtlsIdentity(NOW)
    client, server = Dtls(ours, proof(theirs), client=True), Dtls(theirs, proof(ours), client=False)
    shake(client, server)
    assert client.keys is not None
    keys = client.keys
    assert server.keys == SrtpKeys(
        keys.gcm, keys.receive_key, keys.receive_salt, keys.send_key, keys.send_salt
    )
    assert keys.send_key != keys.receive_key
    for datagram in client.close():
        server.handle(datagram)
    assert server.closed


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        ("sha-224", hashes.SHA224()),
        ("sha-256", hashes.SHA256()),
        ("sha-384", hashes.SHA384()),
        ("sha-512", hashes.SHA512()),
    ],
)
@pytest.mark.parametrize("as_client", [True, False])
def test_any_of_several_fingerprints_proves_a_peer(
    algorithm: str, kind: hashes.HashAlgorithm, as_client: bool
) -> None:
    ours, theirs = DtlsIdentity(NOW), DtlsIdentity(NOW)
    ends = [
        Dtls(ours, Fingerprints(algorithm, (WRONG, digest(theirs, kind))), client=as_client),
        Dtls(theirs, proof(ours, WRONG), client=not as_client),
    ]
    shake(*(ends if as_client else reversed(ends)))
    assert all(end.keys is not None for end in ends)


@pytest.mark.parametrize("as_client", [True, False])
def test_another_certificate_proves_nothing(as_client: bool) -> None:
    ours, theirs = DtlsIdentity(NOW), DtlsIdentity(NOW)
    ends = [
        Dtls(ours, Fingerprints("sha-256", (WRONG,)), client=as_client),
        Dtls(theirs, proof(ours), client=not as_client),
    ]
    with pytest.raises(DtlsError, match="does not match the fingerprint"):
        shake(*(ends if as_client else reversed(ends)))
    assert ends[0].keys is None
