"""Volcengine signature V4 as pure functions: verify what was received, sign what is sent
(docs/contract/signature.md).

A gateway calls `read_claim` with the head alone: whatever can be refused without the body is refused
before a byte of it is read. `Claim.prove(body)` then compares the signatures and returns the access key.
Texts are decoded as UTF-8 with surrogateescape everywhere, so that any received byte is signed as it came.
Rules are quoted by their numbers in docs/contract/signature.md 4. Nothing here knows HTTP statuses or
messages.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from urllib.parse import parse_qsl, quote, unquote

from sluice.core.apps import AccessKey
from sluice.core.errors import Culprit, SluiceError

ALGORITHM = "HMAC-SHA256"
#: V8: validity without X-Expires, and how far the caller's clock may run ahead.
DEFAULT_VALIDITY_S = 900
CLOCK_TOLERANCE_S = 900
MAX_VALIDITY_S = 86400
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_EXPIRES = re.compile(r"[0-9]{1,5}")
#: P3: parameters that a presigned query need not list.
_UNLISTED = frozenset({"X-Signature", "X-SignedQueries", "X-Security-Token"})


class Cause(Enum):
    """Why a request is refused; the values are the gateway's error codes (docs/contract/signature.md 5)."""

    MISSING_AUTHENTICATION_TOKEN = "MissingAuthenticationToken"  # noqa: S105 - an error code
    INVALID_AUTHORIZATION = "InvalidAuthorization"
    INVALID_CREDENTIAL = "InvalidCredential"
    MISSING_SIGNATURE = "MissingSignature"
    MISSING_REQUEST_INFO = "MissingRequestInfo"
    INVALID_TIMESTAMP = "InvalidTimestamp"
    SERVICE_NOT_FOUND = "ServiceNotFound"
    INVALID_ACCESS_KEY = "InvalidAccessKey"
    SIGNATURE_DOES_NOT_MATCH = "SignatureDoesNotMatch"
    INVALID_SECRET_TOKEN = "InvalidSecretToken"  # noqa: S105 - an error code


class SignatureError(SluiceError):
    """`cause` is for the caller, `arg` fills the placeholder of its message, `str(error)` is for the log."""

    culprit = Culprit.CALLER

    def __init__(self, cause: Cause, why: str, arg: str = "") -> None:
        super().__init__(why)
        self.cause = cause
        self.arg = arg


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request without its body. `params` come from `parse_query`, `headers` stand as received."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    prefix: str = ""  #: what a proxy took off the path; the client may have signed it
    _lines: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        lines: dict[str, list[str]] = {}
        for name, value in self.headers:
            lines.setdefault(name.lower(), []).append(value.strip())
        object.__setattr__(self, "_lines", lines)  # the class is frozen for everybody else

    def header_lines(self, name: str) -> list[str]:
        """The values of a header, one per line; `name` in lower case."""
        return self._lines.get(name, [])

    def header(self, name: str) -> str | None:
        """The value of a header, lines combined as RFC 9110 5.3 says; `name` in lower case."""
        lines = self.header_lines(name)
        return ", ".join(lines) if lines else None

    def param(self, name: str) -> str | None:
        return next((value for key, value in self.params if key == name), None)


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules that the operator may relax."""

    service: str = "rtc"
    extra_hosts: tuple[str, ...] = ()  #: V7: hosts that clients sign and a proxy rewrites
    allow_unsigned_body: bool = False  #: P4


@dataclass(frozen=True, slots=True)
class _Presented:
    """What a request says about its own signature, in either form."""

    algorithm: str
    credential: str
    signed_headers: str
    signature: str
    signed_queries: frozenset[str] | None  #: None in the header form: all of them


@dataclass(frozen=True, slots=True)
class _Scope:
    access_key: str
    day: str
    region: str
    service: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A request that is acceptable but for its signature; `prove` decides."""

    _head: RequestHead
    _presented: _Presented
    _scope: _Scope
    _date: str
    _key: AccessKey
    _policy: Policy

    def prove(self, body: bytes) -> AccessKey:
        """The key that signed this request. `body` is free of chunked framing. Raises SignatureError."""
        digest = hashlib.sha256(body).hexdigest()
        announced = self._head.header("x-content-sha256")
        if announced is not None and announced.lower() != digest:  # V4
            raise _mismatch("X-Content-Sha256 is not the hash of the body")
        if self._presented.signed_queries is not None:
            if body and self._head.method != "GET" and not self._policy.allow_unsigned_body:  # P4
                raise _mismatch("a presigned request does not cover its body")
            digest = _EMPTY_HASH
        expected = self._presented.signature.encode("utf-8", "surrogateescape")
        if not any(
            hmac.compare_digest(_signature(self._key.secret_key, self._date, self._scope, text), expected)
            for text in self._canonical_texts(digest)
        ):
            raise _mismatch("the signature differs")
        self._check_session_token()
        return self._key

    def _canonical_texts(self, digest: str) -> Iterable[str]:
        """The canonical requests that the client may have signed (V6, V7, P2)."""
        names = [name.lower() for name in self._presented.signed_headers.split(";") if name]
        for params in self._signed_params():
            for host in _host_values(self._head, self._policy) if "host" in names else [""]:
                lines = _header_lines(self._head, names, host)
                for path in dict.fromkeys((self._head.path, self._head.prefix + self._head.path)):
                    yield _canonical_request(self._head.method, path, params, lines, self._presented, digest)

    def _signed_params(self) -> Iterable[list[tuple[str, str]]]:
        params, listed = self._head.params, self._presented.signed_queries
        if listed is None:
            yield list(params)
            return
        yield [pair for pair in params if pair[0] in listed]  # P1
        if "X-Security-Token" not in listed and self._head.param("X-Security-Token") is not None:  # P2
            yield [pair for pair in params if pair[0] in listed or pair[0] == "X-Security-Token"]

    def _check_session_token(self) -> None:
        wanted = self._key.session_token
        if wanted is None:  # V13: ignored when the key has none
            return
        given = self._head.header("x-security-token") or self._head.param("X-Security-Token") or ""
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted.encode()):
            why = "the session token is not the one of this access key"
            raise SignatureError(Cause.INVALID_SECRET_TOKEN, why, why)


def parse_query(query: str) -> tuple[tuple[str, str], ...]:
    """Name and value pairs of a query or form, in order, blank values kept; `+` and `%20` are a space."""
    return tuple(parse_qsl(query, keep_blank_values=True, errors="surrogateescape"))


def presented_region(head: RequestHead) -> str:
    """The region of the credential scope, not verified; empty where the request names none."""
    match = re.search(r"Credential=([^,]*)", head.header("authorization") or "")
    credential = match.group(1) if match else head.param("X-Credential") or ""
    parts = credential.strip().split("/")
    return parts[2] if len(parts) == 5 else ""


def read_claim(
    head: RequestHead, lookup: Callable[[str], AccessKey | None], now: float, policy: Policy | None = None
) -> Claim:
    """Checks all that needs no body, at Unix time `now`. Raises SignatureError (section 5)."""
    policy = policy or Policy()
    presented = _read_presented(head)
    if presented.algorithm != ALGORITHM:
        raise SignatureError(Cause.INVALID_AUTHORIZATION, f"the algorithm is not {ALGORITHM}")
    scope = _read_scope(presented.credential)
    if not presented.signature:
        raise SignatureError(Cause.MISSING_SIGNATURE, "there is no signature")
    date = _check_date(head, presented, now)
    if scope.day != date[:8]:  # V10
        raise SignatureError(Cause.INVALID_CREDENTIAL, "the scope's day is not that of X-Date")
    if scope.service != policy.service:  # V12
        raise SignatureError(Cause.SERVICE_NOT_FOUND, "the scope names another service", scope.service)
    key = lookup(scope.access_key)
    if key is None:
        raise SignatureError(Cause.INVALID_ACCESS_KEY, "the access key is unknown", scope.access_key)
    if presented.signed_queries is not None:
        extra = {name for name, _ in head.params} - presented.signed_queries - _UNLISTED
        if extra:  # P3
            raise _mismatch("the query holds parameters that are not signed")
    return Claim(head, presented, scope, date, key, policy)


def sign(
    head: RequestHead,
    body: bytes,
    key: AccessKey,
    now: float,
    region: str = "cn-north-1",
    service: str = "rtc",
) -> dict[str, str]:
    """The headers to add to those of `head`. All of them are signed; Host must be in `head`."""
    date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    added = {"X-Date": date, "X-Content-Sha256": digest}
    signed = RequestHead(head.method, head.path, head.params, (*head.headers, *added.items()))
    names = sorted(name.lower() for name, _ in signed.headers)
    scope = _Scope(key.access_key, date[:8], region, service)
    credential = f"{key.access_key}/{scope.day}/{region}/{service}/request"
    presented = _Presented(ALGORITHM, credential, ";".join(names), "", None)
    lines = _header_lines(signed, names, head.header("host") or "")
    canonical = _canonical_request(head.method, head.path, list(head.params), lines, presented, digest)
    signature = _signature(key.secret_key, date, scope, canonical).decode()
    signed_headers = f"SignedHeaders={presented.signed_headers}"
    return added | {
        "Authorization": f"{ALGORITHM} Credential={credential}, {signed_headers}, Signature={signature}"
    }


def _read_presented(head: RequestHead) -> _Presented:
    authorization = head.header("authorization")
    if authorization is not None:  # X1
        return _read_authorization(authorization)
    if head.param("X-Signature") is None and head.param("X-Credential") is None:
        raise SignatureError(Cause.MISSING_AUTHENTICATION_TOKEN, "the request is not signed")
    return _Presented(
        algorithm=head.param("X-Algorithm") or "",
        credential=head.param("X-Credential") or "",
        signed_headers=head.param("X-SignedHeaders") or "",
        signature=head.param("X-Signature") or "",
        signed_queries=frozenset((head.param("X-SignedQueries") or "").split(";")),
    )


def _read_authorization(text: str) -> _Presented:
    algorithm, _, rest = text.partition(" ")
    parts: dict[str, str] = {}
    for part in rest.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals or name in parts:
            raise SignatureError(Cause.INVALID_AUTHORIZATION, "Authorization is not a list of name=value")
        parts[name] = value
    if "Credential" not in parts or "SignedHeaders" not in parts:
        raise SignatureError(Cause.INVALID_AUTHORIZATION, "Authorization lacks Credential or SignedHeaders")
    signature = parts.get("Signature", "")
    return _Presented(algorithm, parts["Credential"], parts["SignedHeaders"], signature, None)


def _read_scope(credential: str) -> _Scope:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != "request":  # V10
        raise SignatureError(
            Cause.INVALID_CREDENTIAL, "the credential is not {AK}/{YYYYMMDD}/{region}/{service}/request"
        )
    return _Scope(*parts[:4])


def _check_date(head: RequestHead, presented: _Presented, now: float) -> str:
    """X-Date, if it is well-formed and `now` lies in its window (V8, V9)."""
    query_form = presented.signed_queries is not None
    date = head.param("X-Date") if query_form else head.header("x-date") or head.param("X-Date")
    if not date:
        raise SignatureError(Cause.MISSING_REQUEST_INFO, "X-Date is missing", "X-Date")
    try:
        if not _DATE.fullmatch(date):
            raise ValueError(date)
        signed_at = datetime.fromisoformat(date).timestamp()
    except ValueError as error:
        raise SignatureError(Cause.INVALID_TIMESTAMP, "X-Date is not YYYYMMDDTHHMMSSZ") from error
    if not signed_at - CLOCK_TOLERANCE_S <= now <= signed_at + _validity(head, presented):
        raise SignatureError(Cause.INVALID_TIMESTAMP, "X-Date lies outside the window; compare the clocks")
    return date


def _validity(head: RequestHead, presented: _Presented) -> int:
    expires, listed = head.param("X-Expires"), presented.signed_queries
    if expires is None or (listed is not None and "X-Expires" not in listed):
        return DEFAULT_VALIDITY_S
    if not _EXPIRES.fullmatch(expires) or not 1 <= int(expires) <= MAX_VALIDITY_S:
        raise SignatureError(Cause.INVALID_TIMESTAMP, f"X-Expires is not 1 to {MAX_VALIDITY_S}")
    return int(expires)


def _host_values(head: RequestHead, policy: Policy) -> list[str]:
    """The hosts that the client may have signed: clients and proxies drop or add a default port (V6)."""
    host = head.header("host") or ""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        return [host, f"{host}:80", f"{host}:443", *policy.extra_hosts]
    return [host, *([name] if port in ("80", "443") else []), *policy.extra_hosts]


def _header_lines(head: RequestHead, names: Iterable[str], host: str) -> str:
    lines = []
    for name in names:  # V2: in the order of SignedHeaders
        values = head.header_lines(name)
        if len(values) != 1:  # V14
            raise _mismatch("a signed header is missing or occurs twice")
        lines.append(f"{name}:{host if name == 'host' else values[0]}\n")
    # Without signed headers the clients sign one line feed in their place (section 3).
    return "".join(lines) or "\n"


def _canonical_request(
    method: str, path: str, params: list[tuple[str, str]], lines: str, presented: _Presented, digest: str
) -> str:
    pairs = [(_encode(name), _encode(value)) for name, value in params]
    query = "&".join(f"{name}={value}" for name, value in sorted(pairs, key=lambda pair: pair[0]))
    path = quote(unquote(path or "/", errors="surrogateescape"), safe="/~", errors="surrogateescape")
    return "\n".join((method, path, query, lines, presented.signed_headers, digest))


def _encode(text: str) -> str:
    return quote(text, safe="~", errors="surrogateescape")


def _signature(secret_key: str, date: str, scope: _Scope, canonical: str) -> bytes:
    """Lower-case hex as bytes; the secret key is used as given, never base64-decoded."""
    hashed = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    scope_text = f"{scope.day}/{scope.region}/{scope.service}/request"
    key = secret_key.encode()
    text = "\n".join((ALGORITHM, date, scope_text, hashed))
    for part in (scope.day, scope.region, scope.service, "request", text):
        key = hmac.digest(key, part.encode("utf-8", "surrogateescape"), "sha256")
    return key.hex().encode()


def _mismatch(why: str) -> SignatureError:
    return SignatureError(Cause.SIGNATURE_DOES_NOT_MATCH, why)
