"""All targets by name, and the inputs that are kept of each: those that broke it once, in its folder."""

from pathlib import Path

from tests.fuzz import callers, servers, sessions, wire

TARGETS = wire.TARGETS | servers.TARGETS | callers.TARGETS | sessions.TARGETS
FOLDER = Path(__file__).parent


def kept(name: str) -> list[Path]:
    folder = FOLDER / name
    return sorted(folder.iterdir()) if folder.is_dir() else []
