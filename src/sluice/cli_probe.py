"""``sluice probe``: what a source is and what a relay would make of it, asked of a running node."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from sluice.core.plan import codec_title
from sluice.core.tasks import MediaType, StreamMode
from sluice.exits import Exit
from sluice.local_node import DataOption, UrlOption, reach
from sluice.progress import shown_progress
from sluice.short_names import app_id
from sluice.terminal import JsonOption, given, print_json, print_lines


class _Media(StrEnum):
    BOTH = "both"
    AUDIO = "audio"
    VIDEO = "video"


class _Mode(StrEnum):
    TRANSCODE = "transcode"
    COPY = "copy"


#: Of each server.
_MOST_ADDRESSES = 4
_MEDIA = {_Media.BOTH: MediaType.AUDIO_VIDEO, _Media.AUDIO: MediaType.AUDIO, _Media.VIDEO: MediaType.VIDEO}
_MODES = {_Mode.TRANSCODE: StreamMode.TRANSCODE, _Mode.COPY: StreamMode.COPY}


def probe(  # noqa: PLR0913 - every field is an option
    source: Annotated[str, typer.Argument(metavar="URL", help="Address of the source.")],
    media: Annotated[_Media, typer.Option(help="What of it would be played.")] = _Media.BOTH,
    mode: Annotated[_Mode | None, typer.Option(help="Default: both")] = None,
    width: Annotated[int | None, typer.Option(help="Of transcoded pictures. Default: the source's")] = None,
    height: Annotated[int | None, typer.Option(help="Of transcoded pictures. Default: the source's")] = None,
    frame_rate: Annotated[
        int | None, typer.Option(help="Of transcoded pictures, at most. Default: 15")
    ] = None,
    bitrate: Annotated[int | None, typer.Option(help="kbit/s of transcoded pictures, at most.")] = None,
    app: Annotated[
        str | None,
        typer.Option(
            help="App, by its id or the beginning of it, whose user agent and headers the source gets."
        ),
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Says what a source is and what would be played of it, within 5 s and without a task.

    Exit status 1: nothing can be played.
    """
    wanted = {"url": source, "media_type": int(_MEDIA[media]), "width": width, "height": height}
    wanted |= {"frame_rate": frame_rate, "bitrate_kbps": bitrate}
    if mode is not None:
        wanted["stream_mode"] = int(_MODES[mode])
    node = reach(url, data)
    wanted["app_id"] = None if app is None else app_id(node, app)
    with shown_progress() as tell:
        tell("looking at the source", 0, 0)
        document = node.client.native("POST", "/probe", given(wanted))
    if as_json:
        print_json(document)
    else:
        print_lines(_lines(document))
    if not any(found["plan"] for found in document["modes"].values()):
        sys.exit(Exit.FAILED)


def _lines(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What people read, with a word in front of each line; an empty one continues the last."""
    yield "address", document["url"]
    yield from _guard(document["guard"])
    yield "reached", _reached(document["reached"], document["seconds"])
    facts = document["source"]
    if facts is not None:
        yield "source", _source(facts)
        if facts["video"] is not None:
            yield "video", _video(facts["video"], facts["seen_s"])
        if facts["audio"] is not None:
            yield "audio", _audio(facts["audio"])
        yield from _variants(facts)
    for name, mode in document["modes"].items():
        if mode["plan"] is not None or mode["failure"] is not None:
            yield from _mode(name, mode)
    for note in document["notes"]:
        yield "note", note
    if document["failure"] is not None:
        yield "failure", _failure(document["failure"])


def _guard(guard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    verdict = {True: "allowed", False: "refused", None: "not asked"}[guard["allowed"]]
    yield "guard", f"{verdict}: {guard['why']}"
    for host in guard["hosts"]:
        for found in host["addresses"][:_MOST_ADDRESSES]:
            yield "", f"{host['host']} at {found['address']}: {found['why']}"


def _reached(reached: dict[str, Any], seconds: float) -> str:
    status = f"status {reached['status']}" if reached["status"] is not None else ""
    connections = _count(reached["connections"], "connection")
    came = f"{reached['bytes']} bytes in {connections}" if reached["bytes"] else ""
    return _joined(reached["step"], status, came, f"after {seconds:g} s")


def _source(facts: dict[str, Any]) -> str:
    title = facts["container"] or "unknown"
    title += f" of {facts['segments']}" if facts["segments"] else ""
    entries = facts["entries"]
    length = f"{facts['duration_s']:g} s" if facts["duration_s"] is not None else ""
    kind = {True: "live", False: "recorded", None: ""}[facts["live"]]
    listed = f"the first of a list of {entries}" if entries else ""
    seekable = "not seekable" if facts["seekable"] is False else ""
    return _joined(title, listed, kind, length, seekable, _rate(facts))


def _video(video: dict[str, Any], seen_s: float) -> str:
    gop = video["gop_s"]
    key_frames = f"a key frame every {gop:g} s" if gop is not None else f"no second key frame in {seen_s:g} s"
    return _joined(
        _codec(video),
        _size(video),
        f"turned by {video['rotation']}°" if video["rotation"] else "",
        f"pixels {video['pixel_aspect']}" if video["pixel_aspect"] not in (None, "1:1") else "",
        _frames(video),
        _rate(video),
        key_frames,
        "B-frames" if video["b_frames"] else "no B-frames",
    )


def _audio(audio: dict[str, Any]) -> str:
    return _joined(_codec(audio), _sound(audio), _rate(audio), audio["language"] or "")


def _variants(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    label = "variants"
    for variant in facts["variants"]:
        kind = "" if variant["kind"] == "all" else variant["kind"]
        rate = f"{variant['bandwidth_kbps']} kbit/s" if variant["bandwidth_kbps"] else ""
        names = _joined(kind, variant["language"] or "", variant["name"] or "", rate)
        what = _joined(names, _size(variant), _frames(variant), " ".join(variant["codecs"]))
        yield label, f"{'>' if variant['chosen'] else ' '} {what}: {variant['why']}"
        label = ""
    if facts["further_variants"]:
        yield "", f"  and {facts['further_variants']} more"


def _mode(name: str, mode: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if mode["plan"] is None:
        yield name, _failure(mode["failure"])
        return
    for kind, describe in (("video", _pictures), ("audio", _heard)):
        track, played = mode["plan"][kind], mode["played"][kind]
        what = f"{track['action']} to {describe(played)}" if played is not None else track["action"]
        yield name, f"{kind}: {what} ({track['why']})"
        name = ""
    cost = mode["cost"]
    yield "", f"costs {cost['cores'] * 100:.1f} % of a core and {cost['mb']:.0f} MB with one viewer"


def _pictures(played: dict[str, Any]) -> str:
    return _joined(codec_title(played["codec"]), _size(played), _frames(played), _rate(played))


def _heard(played: dict[str, Any]) -> str:
    return _joined(codec_title(played["codec"]), _sound(played), _rate(played))


def _failure(failure: dict[str, Any]) -> str:
    return f"{failure['message']} (fault of the {failure['culprit']}: {failure['reason']})"


def _codec(track: dict[str, Any]) -> str:
    return f"{codec_title(track['codec'])} {track['profile'] or ''}".strip()


def _size(track: dict[str, Any]) -> str:
    return f"{track['width']}x{track['height']}" if track["width"] and track["height"] else ""


def _frames(track: dict[str, Any]) -> str:
    return f"{track['frame_rate']:g} pictures a second" if track["frame_rate"] else ""


def _sound(track: dict[str, Any]) -> str:
    rate = f"{track['sample_rate']} Hz" if track["sample_rate"] else ""
    return _joined(rate, _count(track["channels"], "channel") if track["channels"] else "")


def _rate(found: dict[str, Any]) -> str:
    return f"{found['bitrate_kbps']} kbit/s" if found["bitrate_kbps"] else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
