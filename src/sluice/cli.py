"""The command ``sluice``: its commands, which are siblings of this file, and how errors end it."""

import signal
import sys
from typing import Annotated, NoReturn

import typer

from sluice import __version__
from sluice.cli_apps import app_cli
from sluice.cli_backup import backup, restore
from sluice.cli_bots import bot_cli, channel_cli
from sluice.cli_callbacks import callback_cli
from sluice.cli_calls import call, link, token
from sluice.cli_demo import demo
from sluice.cli_doctor import doctor
from sluice.cli_keys import key_cli
from sluice.cli_node import node_cli, process_cli
from sluice.cli_probe import probe
from sluice.cli_rooms import room_cli
from sluice.cli_serve import serve
from sluice.cli_tasks import task_cli
from sluice.core.errors import SluiceError
from sluice.exits import Exit, exit_of, table
from sluice.terminal import Style, flush, open_streams, say, tell

_HELP = "Serves a node, or talks to one that runs. Prints for people, with --json one JSON document."
_EPILOG = "Exit status:\n\n" + table()

cli = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},  # of the commands below, too
    help=_HELP,
    epilog=_EPILOG,
)
for command in (serve, demo, doctor, backup, restore, call, token, link, probe):
    cli.command()(command)
for name, commands in (
    ("task", task_cli),
    ("room", room_cli),
    ("callback", callback_cli),
    ("app", app_cli),
    ("key", key_cli),
    ("bot", bot_cli),
    ("channel", channel_cli),
    ("node", node_cli),
    ("process", process_cli),
):
    cli.add_typer(commands, name=name)


def main() -> NoReturn:
    """Entry point: errors of sluice are one line for a person, and a status of `exits`."""
    open_streams()
    signal.signal(signal.SIGINT, _interrupt)
    try:
        cli()
    except SystemExit as ended:
        flush()
        raise ended
    except SluiceError as error:
        text, status = str(error), exit_of(error)
    except OSError as error:
        text = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        status = Exit.FAILED
    except UnicodeEncodeError as error:  # bytes of the command line that are no UTF-8
        text, status = f"{error.object!r} is no text in UTF-8", Exit.MISUSE
    tell(f"sluice: {text}", Style.RED)
    sys.exit(status)


def _interrupt(*_: object) -> NoReturn:
    """Ends the command with an exception, so that half-made files are removed."""
    sys.exit(Exit.INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"sluice {__version__}")
        raise typer.Exit


@cli.callback(help=_HELP)
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the release.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass
