"""A client of a node: signed calls of the OpenAPI dialect, and the native API with the admin token."""

import http.client
import json
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from sluice.core.apps import AccessKey
from sluice.core.errors import SluiceError
from sluice.wire.signature import RequestHead, parse_query, sign

_TIMEOUT_S = 15.0
#: The statuses for an address that is too long, and a length that all servers accept.
_TOO_LONG, _LONG_URL = (400, 414, 431), 4000
#: The statuses and longest text of an answer without JSON: see `_refusal_of`.
_REFUSALS, _LONGEST_REFUSAL = (421, 503), 400
#: Codes of the native API for what is not there.
_NOT_FOUND = frozenset({"NotFound", "TaskNotFound", "CallbackNotFound", "NotRegistered"})
#: The ends of names of ids and addresses in the contract, which stay texts even if they look like numbers.
_TEXT_NAMES = ("Id", "Token", "Url", "URL")


class CallFailed(SluiceError):
    """The node cannot be reached or refused the call; `document` is its answer, if there was one."""

    def __init__(self, text: str, document: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.document = document


class NoNode(CallFailed):
    """Nothing answers at the address, or something that is no node."""


class BadAddress(CallFailed):
    """No node can have this address."""


class NothingThere(CallFailed):
    """The node does not know what was named."""


@dataclass(frozen=True, slots=True)
class Client:
    """`url` is the node's address; the native API needs `admin_token`, signed calls need `key`. `origin` says
    where the address comes from. With a `certificate` (a PEM file) the node has to show the first one in it,
    whatever name that is made out to."""

    url: str
    key: AccessKey
    admin_token: str
    origin: str = ""
    certificate: Path | None = None

    def call(
        self, action: str, version: str, params: dict[str, Any], now: float, signer: str | None = None
    ) -> dict[str, Any]:
        """The answer's envelope. With `signer`, an app, the node itself signs. Raises CallFailed."""
        query = {"Action": action, "Version": version}
        reading = action.startswith(("List", "Get"))
        if reading:
            query |= {name: str(value) for name, value in params.items()}
        body = b"" if reading else json.dumps(params).encode()
        encoded = urlencode(query, quote_via=quote)
        headers = {"Host": self._host()}
        if not reading:
            headers["Content-Type"] = "application/json"
        head = RequestHead("GET" if reading else "POST", "/", parse_query(encoded), tuple(headers.items()))
        if signer is None:
            headers |= sign(head, body, self.key, now)
        else:
            headers |= self._signed_by_node(signer, head.method, encoded, headers, body)
        document = self._send(f"{self.url}/?{encoded}", head.method, headers, body)
        metadata = document.get("ResponseMetadata")
        if not isinstance(metadata, dict):
            raise NoNode(f"{self.url} is no sluice node: its answer has no ResponseMetadata", document)
        error = metadata.get("Error")
        if isinstance(error, dict):
            raise CallFailed(f"{error.get('Code')}: {error.get('Message')}", document)
        return document

    def native(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """A document of the native API; empty if there is none. Raises CallFailed."""
        self._host()
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        data = b""
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body).encode()
        document = self._send(f"{self.url}/api/v1{path}", method, headers, data)
        if "ResponseMetadata" in document:  # the signed dialect answers unknown paths
            raise CallFailed(f"the node has nothing at {path}: is a name empty, or has it a slash?", document)
        error = document.get("error")
        if error is not None:
            found: dict[str, Any] = error if isinstance(error, dict) else {}
            if found.get("code") == "AccessRefused":
                text = (
                    f"the node at {self.url} does not take this admin token; name its data folder with --data"
                )
                raise CallFailed(text, document)
            kind = NothingThere if str(found.get("code")) in _NOT_FOUND else CallFailed
            raise kind(found.get("message") or "the node refused the call", document)
        return document

    def _signed_by_node(
        self, app_id: str, method: str, query: str, headers: dict[str, str], body: bytes
    ) -> dict[str, str]:
        wanted = {"method": method, "query": query, "host": headers["Host"], "body": body.decode()}
        if "Content-Type" in headers:
            wanted["content_type"] = headers["Content-Type"]
        path = f"/apps/{quote(app_id, safe='')}/signatures"
        found: dict[str, str] = self.native("POST", path, wanted)["headers"]
        return found

    def _host(self) -> str:
        """The node's host, with the port if the address names one. Raises CallFailed."""
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # an unclosed [ or a port that is no number
            usable = False
        if not usable or not self.url.isascii() or not self.url.isprintable() or " " in self.url:
            raise BadAddress(f"{self.url!r} is no address of a node; write it as http://host:port")
        return parts.netloc

    def _trust(self) -> list[urllib.request.BaseHandler]:
        """Raises NoNode for a certificate that cannot be read."""
        if self.certificate is None:
            return []
        try:
            context = ssl.create_default_context(cadata=_first_certificate(self.certificate.read_text()))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise NoNode(
                f"{self.certificate}, the certificate of the node at {self.url}, cannot be read ({why}); "
                "name the address of the node with --url"
            ) from error
        context.check_hostname = False  # this one certificate is compared, not a name
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return [urllib.request.HTTPSHandler(context=context)]

    def _send(self, url: str, method: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the operator's own node
            url, data=body or None, headers=headers, method=method
        )
        # Never through a proxy of the environment: the address is the node's own.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *self._trust())
        try:
            with opener.open(request, timeout=_TIMEOUT_S) as response:
                status, data = response.status, response.read() or b"{}"
        except urllib.error.HTTPError as error:
            with error:
                status, data = error.code, error.read()
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            named = f", which {self.origin} names," if self.origin else ""
            raise NoNode(
                f"no node answers at {self.url}{named} ({getattr(why, 'strerror', None) or why}); "
                "name its address with --url, or start one with: sluice serve"
            ) from error
        try:
            document = json.loads(data)
        except ValueError as error:
            if status in _TOO_LONG and len(url) > _LONG_URL:
                raise CallFailed(
                    f"the call is too long: its address has {len(url)} characters, which {self.url} does not "
                    f"take (HTTP {status})"
                ) from error
            refusal = _refusal_of(status, data)
            if refusal:
                raise CallFailed(refusal) from error
            text = f"{self.url} is no sluice node: it does not answer with JSON (HTTP {status})"
            raise NoNode(text) from error
        return document if isinstance(document, dict) else {"Result": document}


def _first_certificate(pem: str) -> str:
    """Raises ValueError."""
    found = re.search("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", pem, re.DOTALL)
    if found is None:
        raise ValueError("there is none in it")
    return found.group()


def room_page(url: str, app_id: str, room_id: str, token: str) -> str:
    """The address of the page that shows a room. Browsers send nothing after the # to a server."""
    return f"{url}/room#{urlencode({'app': app_id, 'room': room_id, 'token': token})}"


def _refusal_of(status: int, data: bytes) -> str:
    """The line by which a node refuses a name or a connection before it reads the request; empty for anything
    else, such as the page of a proxy."""
    line = data.decode(errors="replace").strip()
    is_ours = status in _REFUSALS and line.startswith("the node ") and line.isprintable()
    return line if is_ours and len(line) <= _LONGEST_REFUSAL else ""


def read_params(pairs: list[str]) -> dict[str, Any]:
    """Reads ``Control.Loop=true`` and the like as a nested document, ``EventList.0=…`` as a list.

    A value that begins with a bracket is JSON, numbers and booleans are converted; ids, tokens and addresses
    stay texts. Raises CallFailed for a text that is no pair.
    """
    document: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise CallFailed(f"write parameters as Name=value, not {pair!r}")
        *path, last = name.split(".")
        place = document
        for part in path:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise CallFailed(f"{name}: {part} is given as a value already")
        if last in place:
            of = ".".join(path) if path and last.isdecimal() else name
            raise CallFailed(f"{name} is given twice; a list is written as {of}.0=… {of}.1=…")
        place[last] = text if last.endswith(_TEXT_NAMES) else _value(name, text)
    return {name: _with_lists(name, value) for name, value in document.items()}


def _with_lists(name: str, value: object) -> object:
    """The value, in which objects with numbers as fields are lists."""
    if not isinstance(value, dict):
        return value
    fields = {field: _with_lists(f"{name}.{field}", inner) for field, inner in value.items()}
    if not any(field.isdecimal() for field in fields):
        return fields
    try:
        return [fields[str(n)] for n in range(len(fields))]
    except KeyError:
        raise CallFailed(f"{name}: number the items of a list from 0: {name}.0=… {name}.1=…") from None


def _value(name: str, text: str) -> object:
    if text.startswith(("[", "{")):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CallFailed(f"{name} begins with {text[0]} and is no JSON: {error}") from error
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return text
