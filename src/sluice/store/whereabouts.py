"""What a node writes into the lock of its data folder, so that commands find it, whatever its port.

The lock says whether a node is there (`store.folder`); this says which and where. What a node that died has
left is not believed. Earlier releases wrote pid and host alone.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

#: More is no text of ours.
MOST_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`url` is where the node listens; empty: it is starting. `public_url` is what callers see. `certificate`
    is the file whose first certificate it shows, where it serves https itself."""

    pid: int
    host: str
    url: str = ""
    public_url: str = ""
    certificate: str = ""

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is on another machine, or in a container that this process is not in."""
        return self.host != socket.gethostname()

    def text(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def of_this_process(url: str = "", public_url: str = "", certificate: Path | None = None) -> Whereabouts:
    file = "" if certificate is None else str(certificate.absolute())
    return Whereabouts(os.getpid(), socket.gethostname(), url, public_url, file)


def read_whereabouts(data: bytes) -> Whereabouts | None:
    """None for what no node has written."""
    text = data.decode(errors="replace")
    try:
        fields = json.loads(text)
        found = Whereabouts(**fields) if isinstance(fields, dict) else None
    except (ValueError, TypeError):
        pid, _, host = text.partition(" ")
        return Whereabouts(int(pid), host) if pid.isdecimal() and pid.isascii() and len(pid) < 10 else None
    texts = () if found is None else (found.host, found.url, found.public_url, found.certificate)
    is_ours = found is not None and isinstance(found.pid, int) and all(isinstance(one, str) for one in texts)
    return found if is_ours else None
