"""``sluice task``: the tasks of a running node, of all its apps."""

from typing import Annotated
from urllib.parse import urlencode

import typer

from sluice.local_node import DataOption, UrlOption, reach
from sluice.short_names import AppFilter, TaskArgument, of_app, task_path
from sluice.terminal import JsonOption, LimitOption, given, print_document, print_rows, tell_of_more

task_cli = typer.Typer(no_args_is_help=True, help="Tasks of a running node.")


@task_cli.command("list")
def task_list(
    app: AppFilter = None,
    limit: LimitOption = 100,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lists tasks, the newest first, with those that ended lately."""
    node = reach(url, data)
    query = urlencode({"limit": limit, **of_app(node, app)})
    document = node.client.native("GET", f"/tasks?{query}")
    # Only for people: with --json the node's documents are printed as they are.
    addresses = {
        "tasks": [task | {"address": task.get("source", task.get("target"))} for task in document["tasks"]]
    }
    names = ("id", "kind", "room_id", "task_id", "user_id", "state", "reason_text", "address")
    # The node's own ids stay whole: `task show` and its like take them.
    shortened = ("room_id", "task_id", "user_id")
    print_rows(document if as_json else addresses, "tasks", names, as_json, shortened)
    tell_of_more(document["tasks"], limit, "tasks")


@task_cli.command("show")
def task_show(
    id: TaskArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Shows one task: its state, what is played, and how it arrives."""
    client = reach(url, data).client
    print_document(client.native("GET", task_path(client, id)), as_json)


@task_cli.command("stop")
def task_stop(
    id: TaskArgument, url: UrlOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """Stops a task."""
    client = reach(url, data).client
    print_document(client.native("POST", f"{task_path(client, id)}/stop"), as_json)


@task_cli.command("control")
def task_control(
    id: TaskArgument,
    pause: Annotated[
        bool | None, typer.Option("--pause/--resume", help="Let a recording stand still, or go on.")
    ] = None,
    seek: Annotated[
        float | None, typer.Option(help="Go on at this position of the recording, in seconds.")
    ] = None,
    volume: Annotated[
        int | None, typer.Option(help="Percent of the amplitude; 100 is as the source has it.")
    ] = None,
    normalize: Annotated[
        bool | None, typer.Option("--normalize/--no-normalize", help="Make the loudness even (EBU R 128).")
    ] = None,
    url: UrlOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Changes how a relay plays: all that is given, or nothing."""
    wanted = {"pause": pause, "seek_s": seek, "volume": volume, "normalize": normalize}
    client = reach(url, data).client
    print_document(client.native("POST", f"{task_path(client, id)}/control", given(wanted)), as_json)
