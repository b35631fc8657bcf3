"""Every command with its arguments and options, from `sluice.cli`."""

from collections.abc import Iterator
from enum import Enum
from typing import Any

from typer.main import get_command

from docs.site.reference.markdown import code, fence, page, plain, table, written_from
from sluice.cli import cli
from sluice.exits import Exit

_INTRODUCTION = """
`sluice serve` runs a node. The other commands talk to one that runs, or prepare and check one. They find
the node through its data folder (`--data`, by default `./data`), in which a node notes where it listens;
`--url` or the variable `SLUICE_URL` names an address instead. Ids may be shortened as long as only one
fits. With `--json` a command prints one JSON document. `-h` behind a command explains it, and
`sluice --version` prints the release.
"""


def command_line() -> str:
    return page(
        "# Command line",
        _INTRODUCTION,
        "## Exit status",
        table(("Status", "Meaning"), [(code(status.value), status.text) for status in Exit]),
        *(_section(path, command) for path, command in commands()),
        written_from("src/sluice/cli*.py"),
    )


def commands() -> Iterator[tuple[str, Any]]:
    """All that do something, as click knows them, by what people type."""
    yield from _below("sluice", get_command(cli))


def _below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, inner in below.items():
        yield from _below(f"{path} {name}", inner)


def _section(path: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = [path, *(_placed(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
    return page(
        f"## {path}",
        "\n\n".join(plain(part) for part in (command.help or "").replace("\b\n", "").split("\n\n")),
        fence("text", " ".join(usage)),
        table(("Argument", "Meaning"), [(code(_name(one)), _help(one)) for one in arguments]),
        table(("Option", "Meaning"), [(_flags(one), _help(one)) for one in options]),
    ).rstrip("\n")


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _placed(argument: Any) -> str:
    name = _name(argument) + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> str:
    named = ", ".join(code(flag) for flag in (*option.opts, *option.secondary_opts))
    return f"{named} (required)" if option.required else named


def _help(parameter: Any) -> str:
    text = plain(parameter.help or "")
    kind = parameter.type_descriptor.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        text += f" One of {', '.join(code(one.value) for one in kind)}."
    default = parameter.default
    told = "Default" in text or default in (None, False, "") or callable(default)
    return text if told else f"{text} Default: {code(getattr(default, 'value', default))}"
