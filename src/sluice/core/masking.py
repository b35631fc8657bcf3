"""Addresses as logs and documents may show them: enough to recognise, not enough to use.

Masks the password of the userinfo, the values of query parameters whose names smell of a secret, and the
stream key of an RTMP address (its last path segment after the app).
"""

import re
from urllib.parse import unquote, urlsplit

_MASK = "***"
_SECRET_NAME = re.compile(r"token|key|sig|auth|secret|passw|pwd|credential", re.IGNORECASE)
_PAIR = re.compile(r"([^?&#=]*)=([^?&#]+)")
#: HTTP's as browsers take them apart, since we do: any slashes, either way.
_PARTS = re.compile(
    r"(?P<scheme>[Hh][Tt]{2}[Pp][Ss]?:[/\\]*|[A-Za-z][A-Za-z0-9+.-]*:(?://)?)(?P<authority>[^/\\?#]*)"
    r"(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.DOTALL,
)


def mask_url(url: str) -> str:
    """`url` without its secrets; a text that is no URL is masked as a whole."""
    found = _PARTS.fullmatch(url.strip())
    try:
        urlsplit(url)
    except ValueError:
        return _MASK
    if found is None:
        return _mask_relative(url)
    path, query, fragment = found["path"], found["query"] or "", _mask_query(found["fragment"] or "")
    if found["scheme"].lower().startswith("rtmp"):
        path, query = _mask_stream_key(path), _mask_late_key(query)
    else:
        query = _mask_query(query)
    return found["scheme"] + _mask_userinfo(found["authority"]) + path + query + fragment


def _mask_relative(text: str) -> str:
    path, mark, query = text.partition("?")
    return path + mark + _mask_query(query)


def _mask_userinfo(authority: str) -> str:
    userinfo, at, host = authority.rpartition("@")
    if not at:
        return authority
    user, colon, _ = userinfo.partition(":")
    # A lone userinfo is an access token as often as a name.
    return f"{user}:{_MASK}@{host}" if colon else f"{_MASK}@{host}"


def _mask_query(query: str) -> str:
    return _PAIR.sub(_mask_pair, query)


def _mask_pair(pair: re.Match[str]) -> str:
    return f"{pair[1]}={_MASK}" if _SECRET_NAME.search(unquote(pair[1])) else pair[0]


def _mask_stream_key(path: str) -> str:
    app, _, key = path.rpartition("/")
    return f"{app}/{key[:2]}{_MASK}" if app.strip("/") and key else path


def _mask_late_key(query: str) -> str:
    """Where the query belongs to the app, the stream's name follows it: rtmp://host/app?x=1/stream."""
    before, slash, stream = query.rpartition("/")
    if not slash:
        return _mask_query(query)
    name, mark, rest = stream.partition("?")
    return f"{_mask_query(before)}/{name[:2]}{_MASK if name else ''}{mark}{_mask_query(rest)}"
