"""The machine under the node: release, clock, limits of the system, codecs."""

import ctypes
import email.utils
import platform
import resource
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from sluice import __version__
from sluice.core.limits import LEAST_DESCRIPTORS, MOST_CONNECTIONS
from sluice.doctor.finding import Finding, bad, ok, warning
from sluice.process.descriptors import share_of_callers

#: No machine that runs this release lives before: 2026-01-01.
_EARLIEST = 1_767_225_600
_TIME_ERROR = 5  #: adjtimex(2): the clock is not synchronised
_HTTP_S = 3.0
#: Seconds that a clock may be wrong: beyond the first lips and logs of several machines do not fit together,
#: beyond the second tokens and signatures are refused.
_SKEW_NOTED_S, _SKEW_BAD_S = 2.0, 60.0
_FEW_CONNECTIONS = 2000
_SOCKET_BUFFER = 4 << 20


def check_release() -> Iterator[Finding]:
    yield ok(
        "release",
        f"sluice {__version__} on Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{platform.system()} {platform.release()}",
    )


def check_time(url: str | None) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    if now < _EARLIEST:
        yield bad(
            "time", f"the clock says {shown}, which is past", "set it: tokens and signatures have times"
        )
        return
    if ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)) == _TIME_ERROR:
        yield warning(
            "time",
            f"the clock says {shown}, and the kernel does not know it to be synchronised",
            "run chrony or systemd-timesyncd, here or on the host of this container",
        )
    else:
        yield ok("time", f"the clock says {shown} and is synchronised")
    if url is not None:
        yield _skew(url)


def _skew(url: str) -> Finding:
    name = urlsplit(url).hostname or url
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("it is no address of a web server")
        asked_at = time.time()
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the operator's own address
        try:
            with urllib.request.urlopen(request, timeout=_HTTP_S) as answer:  # noqa: S310
                date = answer.headers["Date"]
        except urllib.error.HTTPError as refusal:
            date = refusal.headers["Date"]
        theirs = email.utils.parsedate_to_datetime(date).timestamp() + 0.5  # it has whole seconds
    except (OSError, ValueError, TypeError) as error:
        return warning("time", f"the clock of {name} cannot be read: {error}", "name another server")
    skew_s = (asked_at + time.time()) / 2 - theirs
    text = f"the clock is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} that of {name}"
    if abs(skew_s) > _SKEW_BAD_S:
        return bad("time", text, "set it: tokens and signatures have times")
    if abs(skew_s) > _SKEW_NOTED_S:
        return warning("time", text, "run chrony or systemd-timesyncd")
    return ok("time", text)


def check_limits(most_connections: int = MOST_CONNECTIONS) -> Iterator[Finding]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    share = share_of_callers(allowed, most_connections)
    text = f"{allowed} open files are allowed, so that {share.connections} callers may connect at once"
    advice = (
        "raise it: LimitNOFILE=65536 in the unit of systemd, --ulimit nofile=65536 of docker, or ulimit -n"
    )
    if allowed < LEAST_DESCRIPTORS:
        yield bad("limits", f"{allowed} open files are allowed, a node needs {LEAST_DESCRIPTORS}", advice)
    elif share.connections < min(_FEW_CONNECTIONS, most_connections):
        yield warning("limits", text, advice)
    else:
        yield ok("limits", text)
    yield from _check_buffers()


def _check_buffers() -> Iterator[Finding]:
    for name in ("rmem_max", "wmem_max"):
        try:
            size = int(Path(f"/proc/sys/net/core/{name}").read_text())
        except (OSError, ValueError):  # containers may not see it
            continue
        text = f"buffers of UDP sockets may have {size >> 10} KB ({name})"
        if size < _SOCKET_BUFFER:
            yield warning(
                "limits",
                f"{text}; a room process asks for {_SOCKET_BUFFER >> 10} KB, and loses bursts without",
                f"sysctl -w net.core.{name}={_SOCKET_BUFFER}",
            )
        else:
            yield ok("limits", text)


def check_codecs() -> Iterator[Finding]:
    try:
        from sluice.media.codecs import missing_codecs, versions
    except ImportError as error:
        yield bad(
            "codecs",
            f"PyAV cannot be loaded: {error}",
            "install sluice again: pip install --force-reinstall av",
        )
        return
    missing = missing_codecs()
    for codec in missing:
        advice = "install PyAV from PyPI (pip install --force-reinstall av), whose wheels have all of them"
        level = bad if codec.needed else warning
        yield level("codecs", f"there is no {codec.what}, which {codec.purpose} needs", advice)
    if not missing:
        yield ok("codecs", f"H.264, HEVC, AAC, Opus and MP3 are there ({versions()})")
