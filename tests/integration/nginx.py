"""Debian's nginx with its RTMP module on free loopback ports: the server that tests pull from and push to.

Applications: `live` (players may wait for a publisher), `strict` (no publisher: StreamNotFound; the players'
connections end with the publisher's) and `closed` (refuses to play). The HTTP server serves `www`, and what
is in `www/slow` hardly faster than a clip of 160 kbit/s plays.
"""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIG = """
load_module {module};
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
rtmp {{
    access_log off;
    server {{
        listen 127.0.0.1:{rtmp_port};
        chunk_size 4096;
        application live {{ live on; }}
        application strict {{ live on; idle_streams off; }}
        application closed {{ live on; deny play all; }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    types {{ video/mp4 mp4; }}
    server {{
        listen 127.0.0.1:{http_port};
        root {folder}/www;
        location /slow/ {{ limit_rate_after 64k; limit_rate 22k; }}
    }}
}}
"""


class Nginx:
    """A context manager; `www` is the folder that is served. After `stop`, `start` uses the same ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.www = folder / "www"
        self.www.mkdir(parents=True)
        self.rtmp_port, self.http_port = free_port(), free_port()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        config = self.folder / "nginx.conf"
        config.write_text(
            _CONFIG.format(
                module=_MODULE, folder=self.folder, rtmp_port=self.rtmp_port, http_port=self.http_port
            )
        )
        self._process = subprocess.Popen(
            ["nginx", "-p", str(self.folder), "-c", str(config), "-e", str(self.folder / "error.log")],
            stderr=subprocess.DEVNULL,
        )
        for port in (self.rtmp_port, self.http_port):
            await_port(port, self._process)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)

    def rtmp(self, stream: str, app: str = "live") -> str:
        return f"rtmp://127.0.0.1:{self.rtmp_port}/{app}/{stream}"

    def http(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}/{path}"


def await_port(port: int, process: subprocess.Popen[bytes], host: str = "127.0.0.1") -> None:
    """Until the process listens there."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
