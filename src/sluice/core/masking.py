"""Addresses as logs and documents may show them: enough to recognise, not enough to use.

Masks the password of the userinfo, the values of query parameters whose names smell of a secret, and the
stream key of an RTMP address (its last path segment after the app).
"""

import re
from urllib.parse import unquote, urlsplit, urlunsplit

_MASK = "***"
_SECRET_NAME = re.compile(r"token|key|sig|auth|secret|passw|pwd|credential", re.IGNORECASE)


def mask_url(url: str) -> str:
    """`url` without its secrets; a text that is no URL is masked as a whole."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    path = _mask_stream_key(parts.path) if parts.scheme in ("rtmp", "rtmps") else parts.path
    netloc, query = _mask_userinfo(parts.netloc), _mask_query(parts.query)
    return urlunsplit((parts.scheme, netloc, path, query, _mask_query(parts.fragment)))


def _mask_userinfo(netloc: str) -> str:
    userinfo, at, host = netloc.rpartition("@")
    if not at:
        return netloc
    user, colon, _ = userinfo.partition(":")
    # A lone userinfo is an access token as often as a name.
    return f"{user}:{_MASK}@{host}" if colon else f"{_MASK}@{host}"


def _mask_query(query: str) -> str:
    return "&".join(_mask_pair(pair) for pair in query.split("&"))


def _mask_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return f"{name}={_MASK}" if equals and _SECRET_NAME.search(unquote(name)) else pair


def _mask_stream_key(path: str) -> str:
    app, _, key = path.rpartition("/")
    return f"{app}/{key[:2]}{_MASK}" if app.strip("/") and key else path
