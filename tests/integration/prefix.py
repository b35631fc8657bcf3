"""nginx on loopback that puts a server under the path /sluice/, as people do."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.nginx import await_port, free_port

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /sluice/ {{
            proxy_pass {inner}{stripped};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $http_host;
            {header}
        }}
    }}
}}
"""


@contextmanager
def prefix_proxy(folder: Path, inner: str, *, strips: bool = True, tells: bool = True) -> Iterator[str]:
    """The address of `inner` as callers see it, without a slash at its end. `strips`: paths come without the
    prefix; `tells`: a header names it."""
    port = free_port()
    header = "proxy_set_header X-Forwarded-Prefix /sluice;" if tells else ""
    config = folder / "prefix.conf"
    config.write_text(
        _CONFIG.format(folder=folder, port=port, inner=inner, stripped="/" if strips else "", header=header)
    )
    command = ["nginx", "-p", str(folder), "-c", str(config), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        await_port(port, process)
        yield f"http://127.0.0.1:{port}/sluice"
    finally:
        process.terminate()
        process.wait(10)
