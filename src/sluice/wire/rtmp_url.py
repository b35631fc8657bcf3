"""An RTMP address taken apart: where to connect, and how the stream is asked for there."""

from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"rtmp": 1935, "rtmps": 443}


@dataclass(frozen=True, slots=True)
class RtmpUrl:
    host: str
    port: int
    tls: bool
    app: str
    stream: str  #: with the query; empty when the address names only the app
    tc_url: str

    @classmethod
    def parse(cls, url: str) -> "RtmpUrl":
        """The last segment of the path names the stream, together with the query; the others are the app.

        Raises ValueError for anything that names no server and app.
        """
        parts = urlsplit(url, allow_fragments=False)  # a # may be part of a key
        host, port = parts.hostname, parts.port
        app, _, stream = parts.path.strip("/").rpartition("/")
        if not app:
            app, stream = stream, ""
        if parts.scheme not in _PORTS or not host or not app:
            raise ValueError("RTMP addresses have the form rtmp://host/app/stream")
        if parts.query:
            stream += f"?{parts.query}"
        # User and password have no place in the protocol that servers agree on; the keys are in the query.
        tc_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{app}"
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "rtmps", app, stream, tc_url)
