"""Logins to RTMP servers (authmod=adobe, authmod=llnw), as librtmp and ffmpeg make them.

A server refuses connect with a text that says which login it wants. The client answers each such text with a
new connection, whose app has further parameters: first the user, then the response to the challenge. The
protocol prescribes MD5.
"""

import hashlib
import re
from base64 import b64encode

_MODE = re.compile(r"authmod=(\w{1,20})")
_NEED_AUTH = re.compile(r"code=403 need auth")
_REASON = re.compile(r"\?(reason=[^\s]*)")
_REALM, _METHOD, _COUNT, _QUALITY = "live", "publish", "00000001", "auth"


class LoginFailed(Exception):
    """The text says why, and what a person can do."""


class Login:
    """One login, over all connections that it takes."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password
        self._named = self._answered = False

    @staticmethod
    def is_wanted(text: str) -> bool:
        """Whether a refusal of connect with this text asks for a login."""
        return _MODE.search(text) is not None or _NEED_AUTH.search(text) is not None

    def parameters(self, text: str, app: str, nonce: str) -> str:
        """What to append to `app` in the next connection. `text`: the refusal; `nonce`: 8 random hex digits.
        Raises LoginFailed."""
        found = _MODE.search(text)
        mode = found[1].lower() if found else "adobe"
        if mode not in ("adobe", "llnw"):
            raise LoginFailed(f"the server wants a login of a kind that is not spoken here (authmod={mode})")
        if not self._user or not self._password:
            raise LoginFailed(
                f"the server wants a password (authmod={mode}); "
                "give it in the address: rtmp://user:password@host/app/stream"
            )
        if "reason=authfailed" in text or "reason=nosuchuser" in text or self._answered:
            raise LoginFailed(f"the server refuses the user or the password in the address (authmod={mode})")
        who = f"?authmod={mode}&user={self._user}"
        asked = _REASON.search(text)
        if asked is None:
            if self._named:
                raise LoginFailed(f"the server asks for a login (authmod={mode}) and gives no challenge")
            self._named = True
            return who
        self._answered = True
        given = dict(pair.partition("=")[::2] for pair in asked[1].split("&"))
        return who + (self._adobe(given, nonce) if mode == "adobe" else self._llnw(given, app, nonce))

    def _adobe(self, given: dict[str, str], nonce: str) -> str:
        opaque = given.get("opaque", "")
        first = _md5_base64(self._user + given.get("salt", "") + self._password)
        response = _md5_base64(first + (opaque or given.get("challenge", "")) + nonce)
        return f"&challenge={nonce}&response={response}" + (f"&opaque={opaque}" if opaque else "")

    def _llnw(self, given: dict[str, str], app: str, nonce: str) -> str:
        asked = given.get("nonce", "")
        place = app if "/" in app else f"{app}/_definst_"
        first = _md5_hex(f"{self._user}:{_REALM}:{self._password}")
        second = _md5_hex(f"{_METHOD}:/{place}")
        response = _md5_hex(f"{first}:{asked}:{_COUNT}:{nonce}:{_QUALITY}:{second}")
        return f"&nonce={asked}&cnonce={nonce}&nc={_COUNT}&response={response}"


def _md5_hex(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _md5_base64(text: str) -> str:
    return b64encode(hashlib.md5(text.encode(), usedforsecurity=False).digest()).decode()
