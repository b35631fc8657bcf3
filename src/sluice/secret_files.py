"""Files that the command line names: secrets are read from files, since everybody on the machine sees command
lines."""

from pathlib import Path

from sluice.exits import Misuse


def read_secret(path: Path | None) -> str | None:
    """The text of the file, without the end of its line. Raises Misuse."""
    return None if path is None else read_text(path).strip()


def read_text(path: Path) -> str:
    """Raises Misuse, which names the file."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise Misuse(f"{path}: cannot be read: {why}") from error
