"""Signatures: the vendor's vector, every captured request of its SDKs, and each way to be refused."""

import hashlib
import hmac
from dataclasses import replace
from urllib.parse import quote

import pytest

from sluice.core.apps import AccessKey
from sluice.wire.signature import (
    Cause,
    Policy,
    RequestHead,
    SignatureError,
    parse_query,
    presented_region,
    read_claim,
    sign,
)
from tests.unit.captures import FOLDER, KEY, PYTHON_TIME, SESSION_TOKEN, Capture, load, load_all, lookup

NOW = 1_795_000_000.0
DATE = "20261118T110640Z"
MISMATCH = Cause.SIGNATURE_DOES_NOT_MATCH
CAPTURES = load_all()


def verify(head: RequestHead, body: bytes = b"", now: float = NOW, policy: Policy | None = None) -> AccessKey:
    return read_claim(head, lookup, now, policy).prove(body)


def refused(
    head: RequestHead, body: bytes = b"", now: float = NOW, policy: Policy | None = None
) -> tuple[Cause, str]:
    with pytest.raises(SignatureError) as caught:
        verify(head, body, now, policy)
    return caught.value.cause, caught.value.arg


def signed(
    body: bytes = b'{"a":1}',
    query: str = "Action=StopRelayStream&Version=2023-11-01",
    extra: tuple[tuple[str, str], ...] = (),
    **scope: str,
) -> RequestHead:
    head = RequestHead("POST", "/", parse_query(query), (("Host", "rtc.example:8080"), *extra))
    return add(head, sign(head, body, KEY, NOW, **scope))


def add(head: RequestHead, headers: dict[str, str]) -> RequestHead:
    return replace(head, headers=(*head.headers, *headers.items()))


def with_header(head: RequestHead, name: str, value: str | None) -> RequestHead:
    kept = tuple(line for line in head.headers if line[0].lower() != name.lower())
    return replace(head, headers=kept if value is None else (*kept, (name, value)))


def with_authorization(old: str, new: str) -> RequestHead:
    head = signed()
    authorization = head.header("authorization") or ""
    assert old in authorization
    return with_header(head, "Authorization", authorization.replace(old, new))


def hand_signature(canonical: str, region: str) -> str:
    """By the letter of docs/contract/signature.md 1, and not by the code under test."""
    key = KEY.secret_key.encode()
    for part in ("20261118", region, "rtc", "request"):
        key = hmac.digest(key, part.encode(), "sha256")
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"HMAC-SHA256\n{DATE}\n20261118/{region}/rtc/request\n{hashed}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def hand_signed(
    method: str,
    lines: str,
    names: str,
    body: bytes,
    headers: tuple[tuple[str, str], ...],
    region: str = "cn-north-1",
) -> RequestHead:
    canonical = f"{method}\n/\nAction=A\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    authorization = (
        f"HMAC-SHA256 Credential=AKLTtest/20261118/{region}/rtc/request,SignedHeaders={names},  "
        f"Signature={hand_signature(canonical, region)}"
    )
    own = (("X-Date", DATE), ("Authorization", authorization))
    return RequestHead(method, "/", parse_query("Action=A"), (*headers, *own))


LISTED_BY_NODE = "Action;Version;X-Algorithm;X-Credential;X-Date;X-NotSignBody;X-SignedHeaders"


def presigned(
    listed: str = f"{LISTED_BY_NODE};X-SignedQueries",
    canonical_extra: tuple[tuple[str, str], ...] = (),
    sent_extra: tuple[tuple[str, str], ...] = (),
    method: str = "GET",
) -> RequestHead:
    """A presigned request, made by the letter of docs/contract/signature.md 3."""
    params = [
        ("Action", "ListRelayStream"),
        ("Version", "2023-11-01"),
        ("X-Algorithm", "HMAC-SHA256"),
        ("X-Credential", "AKLTtest/20261118/cn-north-1/rtc/request"),
        ("X-Date", DATE),
        ("X-NotSignBody", ""),
        ("X-SignedHeaders", ""),
        ("X-SignedQueries", listed),
    ]
    pairs = sorted([pair for pair in params if pair[0] in listed.split(";")] + list(canonical_extra))
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    canonical = f"{method}\n/\n{query}\n\n\n\n{hashlib.sha256(b'').hexdigest()}"
    signature = hand_signature(canonical, "cn-north-1")
    return RequestHead(method, "/", (*params, *sent_extra, ("X-Signature", signature)), (("Host", "h"),))


def without(head: RequestHead, *names: str) -> RequestHead:
    return replace(head, params=tuple(pair for pair in head.params if pair[0] not in names))


def test_official_vector() -> None:
    key = AccessKey(
        "AKLTMjI2ODVlYzI3ZGY1NGU4ZjhjYWRjMTlmNTM5OTZkYzE",
        "TnpCak5XWXpZV1U0WkRaaE5ERmxaR0ZpTmpjeVkyUXlZek0wTWpJMU1qWQ==",
        frozenset(),
    )
    head = RequestHead(
        "GET",
        "",
        parse_query("Action=ListUsers&Limit=10&Offset=0&Version=2018-01-01"),
        (
            ("Host", "iam.volcengineapi.com"),
            ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ),
    )
    headers = sign(head, b"", key, 1609316285, service="iam")
    assert headers["X-Date"] == "20201230T081805Z"
    assert headers["Authorization"] == (
        f"HMAC-SHA256 Credential={key.access_key}/20201230/cn-north-1/iam/request, "
        "SignedHeaders=content-type;host;x-content-sha256;x-date, "
        "Signature=28eeabbbd726b87002e0fe58ad8c1c768e619b06e2646f35b6ad7ed029a6d8a7"
    )
    claim = read_claim(add(head, headers), lambda _: key, 1609316285, Policy(service="iam"))
    assert claim.prove(b"") is key


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
def test_captured_request(capture: Capture) -> None:
    assert verify(capture.head, capture.body, capture.now) is KEY
    assert presented_region(capture.head) == "cn-north-1"


def test_there_are_ten_captures() -> None:
    assert len(CAPTURES) == 10


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
def test_captured_request_tampered_with(capture: Capture) -> None:
    params = tuple((name, "other" if name == "AppId" else value) for name, value in capture.head.params)
    if params != capture.head.params:
        assert refused(replace(capture.head, params=params), capture.body, capture.now)[0] is MISMATCH
    added = replace(capture.head, params=(*capture.head.params, ("Extra", "1")))
    assert refused(added, capture.body, capture.now)[0] is MISMATCH
    assert refused(replace(capture.head, method="PUT"), capture.body, capture.now)[0] is MISMATCH
    if capture.body:
        assert refused(capture.head, capture.body + b" ", capture.now)[0] is MISMATCH


@pytest.mark.parametrize(
    ("old", "new", "cause", "arg"),
    [
        ("HMAC-SHA256 ", "HMAC-SHA512 ", Cause.INVALID_AUTHORIZATION, ""),
        ("HMAC-SHA256 ", "Bearer ", Cause.INVALID_AUTHORIZATION, ""),
        ("Credential=", "Credential:", Cause.INVALID_AUTHORIZATION, ""),
        ("SignedHeaders=", "Headers=", Cause.INVALID_AUTHORIZATION, ""),
        ("Signature=", "Credential=", Cause.INVALID_AUTHORIZATION, ""),
        ("/request", "", Cause.INVALID_CREDENTIAL, ""),
        ("/request", "/request/more", Cause.INVALID_CREDENTIAL, ""),
        ("/request", "/demand", Cause.INVALID_CREDENTIAL, ""),
        ("/20261118/", "/20261117/", Cause.INVALID_CREDENTIAL, ""),
        ("Signature=", "Sig=", Cause.MISSING_SIGNATURE, ""),
        ("/rtc/", "/iam/", Cause.SERVICE_NOT_FOUND, "iam"),
        ("AKLTtest", "AKLTother", Cause.INVALID_ACCESS_KEY, "AKLTother"),
        ("cn-north-1", "us-east-1", MISMATCH, ""),
        ("Signature=", "Signature=é", MISMATCH, ""),
        ("host;", "", MISMATCH, ""),
        ("host;", "host;x-absent;", MISMATCH, ""),
    ],
)
def test_refused_authorization(old: str, new: str, cause: Cause, arg: str) -> None:
    assert refused(with_authorization(old, new), b'{"a":1}') == (cause, arg)


def test_empty_signature_is_a_missing_one() -> None:
    head = signed()
    authorization = (head.header("authorization") or "").rpartition("=")[0] + "="
    assert refused(with_header(head, "Authorization", authorization))[0] is Cause.MISSING_SIGNATURE


def test_unsigned() -> None:
    head = RequestHead("GET", "/", (), (("Host", "h"),))
    assert refused(head) == (Cause.MISSING_AUTHENTICATION_TOKEN, "")
    assert refused(with_header(head, "Authorization", ""))[0] is Cause.INVALID_AUTHORIZATION


@pytest.mark.parametrize(
    "date", ["20261118T110640", "20261318T110640Z", "2026-11-18T11:06:40Z", "٢0261118T110640Z"]
)
def test_malformed_date(date: str) -> None:
    assert refused(with_header(signed(), "X-Date", date))[0] is Cause.INVALID_TIMESTAMP


def test_missing_date() -> None:
    assert refused(with_header(signed(), "X-Date", None)) == (Cause.MISSING_REQUEST_INFO, "X-Date")


@pytest.mark.parametrize(
    ("expires", "earliest", "latest"), [(None, -900, 900), ("1", -900, 1), ("86400", -900, 86400)]
)
def test_window(expires: str | None, earliest: int, latest: int) -> None:
    head = signed(query="Action=A&Version=V" + (f"&X-Expires={expires}" if expires else ""))
    for now in (NOW + earliest, NOW + latest):
        assert verify(head, b'{"a":1}', now) is KEY
    for now in (NOW + earliest - 1, NOW + latest + 1):
        assert refused(head, b'{"a":1}', now)[0] is Cause.INVALID_TIMESTAMP


@pytest.mark.parametrize("expires", ["0", "86401", "-1", "1.5", "x", "", "٣", "9" * 5000])
def test_illegal_expiry(expires: str) -> None:
    assert refused(signed(query=f"X-Expires={expires}"))[0] is Cause.INVALID_TIMESTAMP


def test_body_hash() -> None:
    head = signed()
    assert refused(head, b'{"a":2}')[0] is MISMATCH
    assert refused(with_header(head, "X-Content-Sha256", "0" * 64), b'{"a":1}')[0] is MISMATCH


def test_extra_header_after_signing() -> None:
    capture = load(FOLDER / "py-core" / "02-ListRelayStream.raw")
    assert verify(with_header(capture.head, "Content-Type", "text/plain"), b"", capture.now) is KEY  # V5


def test_few_signed_headers() -> None:
    """V1, V4: a Node client signs one or two headers, and sends no hash with a GET."""
    get = hand_signed("GET", f"x-date:{DATE}\n", "x-date", b"", ())
    assert verify(get) is KEY
    assert refused(get, b"{}")[0] is MISMATCH
    digest = hashlib.sha256(b"{}").hexdigest()
    lines = f"x-content-sha256:{digest}\nx-date:{DATE}\n"
    post = hand_signed("POST", lines, "x-content-sha256;x-date", b"{}", (("X-Content-Sha256", digest),))
    assert verify(post, b"{}") is KEY


def test_signed_header_twice() -> None:
    head = signed(extra=(("X-Extra", "1"),))
    assert verify(head, b'{"a":1}') is KEY
    assert refused(replace(head, headers=(*head.headers, ("x-extra", "1"))), b'{"a":1}')[0] is MISMATCH


@pytest.mark.parametrize(
    ("signed_host", "sent_host", "accepted"),
    [
        ("h", "h:80", True),
        ("h", "h:443", True),
        ("h:80", "h", True),
        ("h:443", "h", True),
        ("[::1]", "[::1]:80", True),
        ("h", "h:8080", False),
        ("h:8080", "h", False),
        ("h", "other", False),
        ("public.example", "inner", True),
    ],
)
def test_host_values(signed_host: str, sent_host: str, accepted: bool) -> None:
    head = RequestHead("GET", "/", (), (("Host", signed_host),))
    sent = with_header(add(head, sign(head, b"", KEY, NOW)), "Host", sent_host)
    policy = Policy(extra_hosts=("public.example",))
    if accepted:
        assert verify(sent, policy=policy) is KEY
    else:
        assert refused(sent, policy=policy)[0] is MISMATCH


def test_order_of_signed_headers_is_the_clients() -> None:
    """V2: the vendor's sample programs send host;x-date;x-content-sha256;content-type."""
    digest = hashlib.sha256(b"{}").hexdigest()
    lines = f"host:h\nx-date:{DATE}\nx-content-sha256:{digest}\ncontent-type:application/json\n"
    headers = (("Host", "h"), ("X-Content-Sha256", digest), ("Content-Type", " application/json "))
    names = "host;x-date;x-content-sha256;content-type"
    head = hand_signed("POST", lines, names, b"{}", headers, region="cn-beijing")
    assert verify(head, b"{}") is KEY
    assert presented_region(head) == "cn-beijing"


def test_any_bytes_in_the_query_are_signed_as_they_came() -> None:
    assert verify(signed(query="A=%FF+%20~&B=&B=2&B=1&音=1"), b'{"a":1}') is KEY


def test_session_token() -> None:
    key = replace(KEY, session_token=SESSION_TOKEN)

    def prove(head: RequestHead) -> AccessKey:
        return read_claim(head, lambda _: key, NOW).prove(b'{"a":1}')

    assert prove(signed(extra=(("X-Security-Token", SESSION_TOKEN),))) is key
    assert prove(signed(query=f"X-Security-Token={SESSION_TOKEN}")) is key
    for head in (signed(), signed(extra=(("X-Security-Token", "wrong"),))):
        with pytest.raises(SignatureError) as caught:
            prove(head)
        assert caught.value.cause is Cause.INVALID_SECRET_TOKEN
    assert SESSION_TOKEN not in repr(key)


def test_presigned() -> None:
    assert verify(presigned()) is KEY
    assert verify(presigned(LISTED_BY_NODE)) is KEY  # Node does not list X-SignedQueries itself
    assert presented_region(presigned()) == "cn-north-1"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("X-Algorithm", Cause.INVALID_AUTHORIZATION),
        ("X-Credential", Cause.INVALID_CREDENTIAL),
        ("X-Signature", Cause.MISSING_SIGNATURE),
        ("X-Date", Cause.MISSING_REQUEST_INFO),
        ("X-SignedQueries", MISMATCH),
        ("Action", MISMATCH),
    ],
)
def test_presigned_without(name: str, cause: Cause) -> None:
    assert refused(without(presigned(), name))[0] is cause


def test_presigned_query_cannot_be_extended() -> None:
    for name in ("AppId", "X-Expires"):
        assert refused(presigned(sent_extra=((name, "1"),)))[0] is MISMATCH
    assert refused(presigned(sent_extra=(("Action", "StopRelayStream"),)))[0] is MISMATCH


def test_presigned_with_unlisted_security_token() -> None:
    """P2: the older Python SDK signs the token without listing it; P3: unsigned it is harmless."""
    token = (("X-Security-Token", SESSION_TOKEN),)
    assert verify(presigned(canonical_extra=token, sent_extra=token)) is KEY
    assert verify(presigned(sent_extra=token)) is KEY
    assert refused(presigned(canonical_extra=token))[0] is MISMATCH


def test_presigned_covers_no_body() -> None:
    assert verify(presigned(), b"ignored") is KEY
    assert verify(presigned(method="POST")) is KEY
    assert refused(presigned(method="POST"), b"{}")[0] is MISMATCH
    assert verify(presigned(method="POST"), b"{}", policy=Policy(allow_unsigned_body=True)) is KEY


def test_presigned_capture_in_its_window_only() -> None:
    capture = load(FOLDER / "py-volcengine" / "04-ListRelayStream.raw")
    assert refused(capture.head, now=PYTHON_TIME + 901)[0] is Cause.INVALID_TIMESTAMP


def test_a_path_that_a_proxy_shortened() -> None:
    """The client signs what it asks for; the node sees the rest, and is told of the prefix."""
    head = RequestHead("GET", "/sluice/", (), (("Host", "rtc.example"),))
    headers = add(head, sign(head, b"", KEY, NOW)).headers
    assert verify(RequestHead("GET", "/", (), headers, prefix="/sluice")) == KEY
    assert refused(RequestHead("GET", "/", (), headers))[0] is MISMATCH
    assert refused(RequestHead("GET", "/", (), headers, prefix="/other"))[0] is MISMATCH
