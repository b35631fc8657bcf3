"""Chooses the codec of an offered section: H.264 or Opus, nothing else, because what people publish is pushed
to CDNs without transcoding. Where none fits, SdpError says why and names the line.
"""

import base64
import binascii
import re
from collections.abc import Collection

from sluice.wire.h264 import NAL_SPS, Sps
from sluice.wire.sdp import TRANSPORT_CC, AudioFormat, MediaOffer, SdpError, VideoFormat, shown

_H264 = re.compile(r"h264/90000(/1)?", re.IGNORECASE)
#: RFC 7587 7 writes opus/48000/2; there is no other Opus, however it is written.
_OPUS = re.compile(r"opus/48000(/[12])?", re.IGNORECASE)
_RTX = re.compile(r"rtx/90000", re.IGNORECASE)

#: RFC 3551 6: 7 bits; RFC 5761 4: 64 to 95 could not be told from RTCP on a shared port.
_PAYLOAD_TYPES = frozenset((*range(64), *range(96, 128)))
#: Profiles (profile_idc in hex), the most capable decoder first.
_PROFILES = ("64", "4d", "42")
_HIGHEST_LEVEL = "34"  # 5.2
#: Values of packetization-mode, best first. The depacketizer takes both. What we send has fragments, which
#: mode 0 does not allow. Without a value the mode is 0 (RFC 6184 8.1), but peers that leave it out
#: (GStreamer, FFmpeg) take fragments.
_MODES_RECEIVED, _MODES_SENT = ("1", "", "0"), ("1", "")
_VIDEO_FEEDBACK = ("nack", "nack pli", "ccm fir")
_CONGESTION_FEEDBACK = ("transport-cc", "goog-remb")


def choose_video(section: MediaOffer, index: int, *, sends: bool = False) -> VideoFormat:
    """The best H.264 format: packetization-mode 1 where it is offered, then the highest profile. A copied
    stream is sent as it is, whatever its profile, and decoders of a profile take the lower ones too. `index`:
    of the section in the offer; `sends`: the peer sends. Raises SdpError."""
    modes = _MODES_RECEIVED if sends else _MODES_SENT
    offered = _offered(section, _H264, "H264/90000")
    faults = {payload_type: _fault(section, payload_type, modes) for payload_type in offered}
    fit = [payload_type for payload_type in offered if not faults[payload_type]]
    if not fit:
        raise SdpError(f"{section}: {faults[offered[0]]}")

    def rank(payload_type: str) -> tuple[int, int]:
        parameters = section.fmtp.get(payload_type, {})
        mode, profile = parameters.get("packetization-mode", ""), _profile_level(parameters)[:2]
        return modes.index(mode), _PROFILES.index(profile.lower())

    chosen = min(fit, key=rank)
    parameters = section.fmtp.get(chosen, {})
    return VideoFormat(
        int(chosen),
        _rtx_of(section, chosen),
        _answered(parameters, sends=sends),
        _agreed(section, chosen, _VIDEO_FEEDBACK + _CONGESTION_FEEDBACK if sends else _VIDEO_FEEDBACK),
        parameter_sets=_parameter_sets(parameters) if sends else (),
        encoding=section.rtpmap[chosen],
        section=index,
    )


def choose_opus(section: MediaOffer, index: int, *, sends: bool = False) -> AudioFormat:
    """Arguments and errors are those of `choose_video`."""
    offered = _offered(section, _OPUS, "opus/48000/2")
    chosen = next((payload_type for payload_type in offered if _is_payload_type(payload_type)), None)
    if chosen is None:
        raise SdpError(f"{section}: {_no_payload_type(section, offered[0])}")
    feedback = _agreed(section, chosen, ("transport-cc",) if sends else ())
    return AudioFormat(int(chosen), feedback, section.rtpmap[chosen], index)


# --- what is offered --------------------------------------------------------------------------------------


def _offered(section: MediaOffer, encoding: re.Pattern[str], wanted: str) -> list[str]:
    """The payload types that stand for this encoding. Raises SdpError if there is none."""
    found = [n for n in section.formats if encoding.fullmatch(section.rtpmap.get(n, ""))]
    if not found:
        others = ", ".join(dict.fromkeys(section.rtpmap.get(n, n) for n in section.formats))
        raise SdpError(f"{section}: it offers {shown(others)}; the server takes {wanted} only")
    return found


def _fault(section: MediaOffer, payload_type: str, modes: Collection[str]) -> str:
    """Why this H.264 cannot be taken; empty if it can."""
    parameters = section.fmtp.get(payload_type, {})
    mode, profile_level = parameters.get("packetization-mode", ""), _profile_level(parameters)
    line = f"a=fmtp:{shown(payload_type)}"
    if not _is_payload_type(payload_type):
        return _no_payload_type(section, payload_type)
    if mode not in modes:
        return f"{line} packetization-mode={shown(mode)}: offer H.264 with packetization-mode=1"
    if not re.fullmatch(r"[0-9a-fA-F]{6}", profile_level):
        return f"{line} profile-level-id={shown(profile_level)}: it must have six hexadecimal digits"
    if profile_level[:2].lower() not in _PROFILES:
        why = "of the profiles of H.264 the server takes Baseline (42), Main (4d) and High (64)"
        return f"{line} profile-level-id={profile_level}: {why}"
    return ""


def _profile_level(parameters: dict[str, str]) -> str:
    """profile-level-id; without one Baseline, level 1 (RFC 6184 8.1)."""
    return parameters.get("profile-level-id", "") or "42000a"


def _is_payload_type(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) in _PAYLOAD_TYPES


def _no_payload_type(section: MediaOffer, text: str) -> str:
    line = f"a=rtpmap:{shown(text)} {shown(section.rtpmap[text])}"
    return f"{line}: payload types of a bundle are 0 to 63 and 96 to 127"


def _rtx_of(section: MediaOffer, payload_type: str) -> int | None:
    return next(
        (
            int(candidate)
            for candidate in section.formats
            if _is_payload_type(candidate)
            and _RTX.fullmatch(section.rtpmap.get(candidate, ""))
            and section.fmtp.get(candidate, {}).get("apt") == payload_type
        ),
        None,
    )


def _parameter_sets(parameters: dict[str, str]) -> tuple[bytes, ...]:
    """RFC 6184 8.1, sprop-parameter-sets: NAL units in Base64. Malformed ones are left out: the stream may
    carry its own."""
    found: list[bytes] = []
    for text in parameters.get("sprop-parameter-sets", "").split(","):
        try:
            unit = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
            if unit and unit[0] & 0x1F == NAL_SPS:
                Sps.parse(unit)
        except (binascii.Error, ValueError):
            continue
        found += [unit] if unit else []
    return tuple(found)


# --- what is answered -------------------------------------------------------------------------------------


def _answered(parameters: dict[str, str], *, sends: bool) -> str:
    """Mode and profile as the peer writes them, each only if it does: strict parsers compare them."""
    answered = ["level-asymmetry-allowed=1"]
    if mode := parameters.get("packetization-mode"):
        answered.append(f"packetization-mode={mode}")
    if profile_level := parameters.get("profile-level-id"):
        if sends and parameters.get("level-asymmetry-allowed") == "1":
            # RFC 6184 8.2.2: each side then names the level that it can receive, and we only forward. Some
            # encoders slow down to keep a level, and browsers offer 3.1 whatever they can do.
            profile_level = profile_level[:4] + _HIGHEST_LEVEL
        answered.append(f"profile-level-id={profile_level}")
    return ";".join(answered)


def _agreed(section: MediaOffer, payload_type: str, names: Collection[str]) -> tuple[str, ...]:
    """Those kinds of feedback in `names` that are offered."""
    offered = section.feedback.get(payload_type, set()) | section.feedback.get("*", set())
    if TRANSPORT_CC not in section.extensions:
        offered.discard("transport-cc")
    if "transport-cc" in offered:
        offered.discard("goog-remb")  # the sender's own estimate is the better one
    return tuple(name for name in names if name in offered)
