"""What logs and documents may show of addresses and headers: enough to recognise, not enough to use.

The place of a part decides whether it is secret, never its name. Masked are the userinfo and the fragment,
each value of a query or of a parameter in a path (`;name=value`) except a few harmless ones, everything
behind the app of an RTMP address, and parts of paths that look like keys rather than words. Masking a text
twice changes nothing more.
"""

import re
from urllib.parse import unquote

from sluice.core.limits import MOST_SHOWN_URL_CHARS

_MASK = "***"
#: HTTP addresses are split as browsers and `HttpUrl` do: with any number of slashes or backslashes.
_PARTS = re.compile(
    r"(?P<scheme>[Hh][Tt]{2}[Pp][Ss]?:[/\\]*|[A-Za-z][A-Za-z0-9+.-]*://)(?P<authority>[^/\\?#]*)"
    r"(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.DOTALL,
)
_OPAQUE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,20}):[^/\\].*", re.DOTALL)  # data:, mailto:
_PAIR = re.compile(r"[^?&;]+")
_SEGMENT = re.compile(r"[^/\\]+")
#: Parameters that say what is played and how, not who may play it: their values are numbers, or words.
_NUMBERS = frozenset(
    {"_hls_msn", "_hls_part", "bitrate", "fps", "height", "index", "page", "part", "rate", "seq", "width"}
)
_WORDS = frozenset({"_hls_skip", "codec", "format", "lang", "quality", "type"})
_NUMBER, _WORD = re.compile(r"[0-9]{1,10}"), re.compile(r"[a-z0-9.-]{1,8}")
_LONGEST_NAME = 32
_RUN = re.compile(r"[A-Za-z0-9]{8,}")
_TOKEN = re.compile(r"[A-Z]*[a-z]+|[A-Z]+|[0-9]+")
#: An address in a text ends before a blank, a quote or a closing parenthesis. But a quote or parenthesis may
#: also stand in a password or in a query.
_IN_TEXT = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]{1,20}://(?:[^\s/\\?#\"<>`]*@)?[^\s\"'<>`|)\]}?]*(?:\][^\s\"'<>`|)\]}?]*)?"
    r"(?:\?[^\s\"<>`]*[^\s\"<>`'|)\]},.:;])?"
)
#: Headers of a request that say what is asked for, not by whom. Every other header may carry a secret.
_HARMLESS_HEADERS = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control", "dnt", "icy-metadata"}
    | {"origin", "pragma", "priority", "range", "referer", "save-data", "upgrade-insecure-requests"}
    | {"user-agent", "sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site"}
)


def mask_url(url: str) -> str:
    """`url` without its secrets."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in url.strip())
    found = _PARTS.fullmatch(text)
    if found is None:
        opaque = _OPAQUE.fullmatch(text)
        masked = f"{opaque[1]}:{_MASK}" if opaque else _mask_relative(text)
    else:
        masked = found["scheme"] + _mask_userinfo(found["authority"])
        rtmp = found["scheme"].lower().startswith("rtmp")
        masked += _mask_stream_key(found["path"]) if rtmp else _mask_path(found["path"])
        masked += _mask_query(found["query"] or "") + ("#" + _MASK if found["fragment"] else "")
    return masked if len(masked) <= MOST_SHOWN_URL_CHARS else masked[:MOST_SHOWN_URL_CHARS] + "…"


def mask_text(text: str) -> str:
    """A text of somebody else (a library, a server), with the addresses in it masked."""
    return _IN_TEXT.sub(lambda found: mask_url(found[0]), text) if "://" in text else text


def is_secret_header(name: str) -> bool:
    """Whether a header of this name may carry a secret; such a header goes to no other origin."""
    return name.lower() not in _HARMLESS_HEADERS


def _mask_relative(text: str) -> str:
    found = re.fullmatch(r"([^?#]*)(\?[^#]*)?(#.*)?", text, re.DOTALL)
    if found is None:
        return _MASK
    return _mask_path(found[1]) + _mask_query(found[2] or "") + ("#" + _MASK if found[3] else "")


def _mask_userinfo(authority: str) -> str:
    _, at, host = authority.rpartition("@")
    return f"{_MASK}@{host}" if at else authority


def _mask_query(query: str) -> str:
    return _PAIR.sub(lambda pair: _mask_pair(pair[0]), query)


def _mask_pair(pair: str) -> str:
    name, equals, value = pair.partition("=")
    plain = unquote(name)
    if not equals or len(plain) > _LONGEST_NAME or _looks_like_key(plain):
        return _MASK
    form = _NUMBER if plain.lower() in _NUMBERS else _WORD if plain.lower() in _WORDS else None
    harmless = form is not None and form.fullmatch(value) and not _looks_like_key(value)
    return pair if harmless or not value else f"{name}={_MASK}"


def _mask_path(path: str) -> str:
    return _SEGMENT.sub(lambda segment: _mask_segment(segment[0]), path)


def _mask_segment(segment: str) -> str:
    head, semicolon, parameters = segment.partition(";")
    if semicolon:
        return _mask_segment(head) + ";" + _mask_query(parameters)
    name, equals, value = head.partition("=")
    if equals:
        return f"{_shown(name)}={_MASK}" if value else segment
    return _shown(segment)


def _shown(segment: str) -> str:
    return segment[:2] + _MASK if _looks_like_key(unquote(segment)) else segment


def _looks_like_key(text: str) -> bool:
    """Whether letters and digits alternate so often that the text cannot be words and numbers."""
    for run in _RUN.findall(text):
        length, tokens = len(run), len(_TOKEN.findall(run))
        if 5 * length < 12 * tokens or (length >= 16 and length < 3 * tokens):
            return True
    return False


def _mask_stream_key(path: str) -> str:
    """Masks all behind the app, which is the first segment; a space begins options of librtmp."""
    found = re.fullmatch(r"([/\\]*[^/\\ ]*[/\\ ]*)(.*)", path, re.DOTALL)
    assert found is not None  # noqa: S101 - it fits every text
    app, rest = found[1], found[2]
    return _mask_path(app) + (rest[:2] + _MASK if rest else "")
