"""``sluice node`` and ``sluice process``: how a running node is, and what its processes do."""

from typing import Any

import typer

from sluice.local_node import DataOption, UrlOption, reach
from sluice.terminal import JsonOption, print_document, print_rows

node_cli = typer.Typer(no_args_is_help=True, help="A running node.")
process_cli = typer.Typer(no_args_is_help=True, help="The processes of a running node.")


@node_cli.command("show")
def node_show(url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Shows version, health, load, and what the node carries."""
    print_document(reach(url, data).client.native("GET", "/node"), as_json)


@process_cli.command("list")
def process_list(url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Lists the processes of a node: itself first, then rooms and media."""
    document = reach(url, data).client.native("GET", "/processes")
    # Only for people: with --json the node's document is printed as it is.
    shown = {"processes": [_row(process) for process in document["processes"]]}
    names = (
        "name",
        "pid",
        "ready",
        "uptime_s",
        "restarts",
        "cores",
        "lag_ms",
        "memory_mb",
        "work",
        "trouble",
    )
    print_rows(document if as_json else shown, "processes", names, as_json)


def _row(process: dict[str, Any]) -> dict[str, object]:
    """`work` are the peers of a room process and the sessions of a media process."""
    load, lag, memory = process["load"], process["lag"], process["memory_bytes"]
    return process | {
        "cores": None if load is None else round(load["loop"] + load["others"], 2),
        "lag_ms": None if lag is None else round(lag["p99"] * 1000),
        "memory_mb": None if memory is None else memory >> 20,
        "work": process["sessions"] if process["peers"] is None else process["peers"],
    }
