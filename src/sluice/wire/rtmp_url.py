"""Splits an RTMP address as ffmpeg and OBS do: where to connect, and which app and stream to ask for.

The app is the first segment of the path, and also the second (its instance) where there are three or more;
the rest names the stream. A query belongs to the segment before it: rtmp://host/live?vhost=x/stream asks for
``stream`` in the app ``live?vhost=x``.
"""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

from sluice.core.hosts import check_characters, host_and_port
from sluice.core.limits import MOST_URL_CHARS
from sluice.core.masking import mask_text

_PORTS = {"rtmp": 1935, "rtmps": 443}
_SHORTEST_SECRET = 3
#: A # may be part of a key.
_PARTS = re.compile(r"(rtmps?)://([^/?]*)(.*)", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(r"[?&;][^=&;?]*=([^&;?/]+)")
_FORM = "RTMP addresses have the form rtmp://host/app/stream"


@dataclass(frozen=True, slots=True)
class RtmpUrl:
    """An address, split."""

    host: str
    port: int
    tls: bool
    app: str
    stream: str  #: with its query; empty when the address names only the app
    user: str = ""
    password: str = ""

    @classmethod
    def parse(cls, url: str) -> "RtmpUrl":
        """Raises ValueError for an address without a server or an app. Its text says why, and repeats nothing
        of the address."""
        check_characters(url, MOST_URL_CHARS)
        found = _PARTS.fullmatch("".join(filter(str.isprintable, url.strip())))
        if found is None:
            raise ValueError(_FORM)
        scheme = found[1].lower()
        userinfo, _, server = found[2].rpartition("@")
        if not server:
            raise ValueError(_FORM)
        host, port = host_and_port(server, _PORTS[scheme])
        # Behind a space there are options of librtmp, which are not for the server.
        app, stream = _split(found[3].partition(" ")[0])
        if not app.strip("/"):
            raise ValueError(_FORM)
        user, _, password = userinfo.partition(":")
        return cls(host, port, scheme == "rtmps", app, _playpath(stream), unquote(user), unquote(password))

    @property
    def tc_url(self) -> str:
        """The server and app as connect names them, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rtmps' if self.tls else 'rtmp'}://{host}:{self.port}/{self.app}"

    def without_secrets(self, text: str) -> str:
        """`text`, which a server wrote and which may repeat our request, with the secrets masked."""
        name, _, query = self.stream.partition("?")
        secrets = {self.stream, name, query, self.app.partition("?")[2], self.password, self.user}
        secrets |= {*_QUERY.findall(self.app), *_QUERY.findall(self.stream)}
        secrets |= {unquote(secret) for secret in secrets}
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return mask_text(text)

    def with_parameters(self, parameters: str) -> "RtmpUrl":
        """The address with `parameters` (``?…``) behind the app, as an answer to a login."""
        return replace(self, app=self.app + parameters)

    def redirected(self, url: str) -> "RtmpUrl":
        """The address that a server redirects to: another server and app; some servers append the stream's
        name. User and password are kept for the same server only. Raises ValueError."""
        target = RtmpUrl.parse(url)
        path = "/".join(filter(None, (target.app, target.stream)))
        name = self.stream.partition("?")[0]
        if name and path.partition("?")[0].endswith(f"/{name}"):
            target = replace(target, app=path.partition("?")[0][: -len(name) - 1])
        else:
            target = replace(target, app=path.rstrip("/"))
        if not target.user and (target.host, target.port, target.tls) == (self.host, self.port, self.tls):
            target = replace(target, user=self.user, password=self.password)
        return replace(target, stream=self.stream)


def _split(path: str) -> tuple[str, str]:
    """App and stream of what follows the authority, its slash included."""
    mark = path.find("?")
    if mark >= 0 and "slist=" in path[mark:]:
        return path[1:], path.partition("slist=")[2].partition("&")[0]
    if path.startswith("/ondemand/"):
        return "ondemand", path.removeprefix("/ondemand/")
    first, slash, rest = path[1:].partition("/")
    if not slash:
        return first, ""
    instance, slash, stream = rest.partition("/")
    # A colon begins the stream's name: mp4:folder/name.
    if not slash or ":" in instance:
        return first, rest
    return f"{first}/{instance}", stream


def _playpath(stream: str) -> str:
    """The stream's name as Adobe's servers expect it: ``mp4:`` before MP4 files, .flv left out."""
    if ":" not in stream and stream.endswith((".f4v", ".mp4")):
        return f"mp4:{stream}"
    return stream.removesuffix(".flv")
