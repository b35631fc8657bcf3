"""What `sluice doctor` looks at before a node is started, or beside one that runs: nothing is changed.

Each check is a function that returns findings. None may raise for what it finds, and none waits for longer
than a few seconds.
"""

from collections.abc import Iterator

from sluice.config import Settings
from sluice.doctor import data, machine, network
from sluice.doctor.finding import Finding


def examine(settings: Settings, time_url: str | None = None) -> Iterator[Finding]:
    """All findings, each as soon as it is there. `time_url`: an HTTP server whose clock is compared."""
    yield from machine.check_release()
    yield from machine.check_time(time_url)
    yield from machine.check_limits(settings.http.most_connections)
    yield from machine.check_codecs()
    yield from data.check_folder(settings.data)
    yield from data.check_database(settings.data)
    running = data.is_running(settings.data)
    yield from network.check_http(settings, running=running)
    yield from network.check_media_ports(settings, running=running)
    yield from network.check_candidates(settings)
    yield from network.check_proxies(settings)
