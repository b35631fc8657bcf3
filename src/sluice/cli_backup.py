"""``sluice backup`` and ``sluice restore``: the data folder of a node in one file."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sluice.exits import Misuse
from sluice.local_node import DataOption, settings_with
from sluice.progress import shown_progress
from sluice.terminal import JsonOption, print_document


def backup(
    file: Annotated[Path, typer.Argument(help="Where to; only its owner may read it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copies the data folder of a node, which may be running, into one file.

    Database and credentials are in it. Keep sluice.toml and certificates
    yourself; they are not in there. The file is as secret as the keys.
    """
    if not file.parent.is_dir():
        raise Misuse(f"{file.parent}: there is no such folder")
    from sluice.store.backup import make_backup  # the database is needed here alone

    folder = settings_with({"data": data}).data
    with shown_progress() as tell:
        contents = make_backup(folder, file, time.time(), force=force, tell=tell)
    print_document({"file": str(file), **asdict(contents)}, as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `sluice backup` made.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace what is there, and keep it in a folder inside.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a data folder of a backup.

    Its live tasks go on at the next start: let no other node do so.
    """
    if not file.is_file():
        raise Misuse(f"{file}: there is no such file")
    from sluice.store.backup import restore_backup

    folder = settings_with({"data": data}).data
    with shown_progress() as tell:
        restored = restore_backup(file, folder, time.time(), force=force, tell=tell)
    before = None if restored.aside is None else str(restored.aside)
    print_document({"data": str(folder), **asdict(restored.contents), "before": before}, as_json)
