"""House rules that a reader cannot be trusted to check: sizes, where tests belong, what documents repeat."""

import ast
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from typer.main import get_command
from typer.testing import CliRunner

from sluice.callbacks.forms.volcengine_numbers import REASON_NUMBER
from sluice.cli import cli
from sluice.core.lifecycle import Reason, mermaid

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
UNIT_TESTS = sorted((ROOT / "tests/unit").rglob("*.py"))

MOST_LINES, MOST_FUNCTION_LINES = 700, 60
#: What a unit test has no use for: networks, processes, clocks and codecs.
NOT_IN_UNIT_TESTS = {"aiohttp", "aiortc", "av", "http", "multiprocessing", "playwright"}
NOT_IN_UNIT_TESTS |= {"socket", "subprocess", "threading", "time", "uvicorn"}
#: httptools is imported by uvicorn, which is told its name.
IMPORTED_BY_OTHERS = {"httptools"}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def place(path: Path, node: ast.stmt | ast.expr) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


def imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """The top-level name of each absolute import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module.partition(".")[0]


def test_files_and_functions_are_small() -> None:
    too_long = []
    for path in SOURCES:
        if len(path.read_text().splitlines()) > MOST_LINES:
            too_long.append(str(path.relative_to(ROOT)))
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno >= MOST_FUNCTION_LINES:
                    too_long.append(f"{place(path, node)} {node.name}")
    assert not too_long


def test_a_limit_has_one_value() -> None:
    """Two strangers' limits of one name would both be the second."""
    tree = parse(ROOT / "src" / "sluice" / "core" / "limits.py")
    names = [
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    assert len(names) > 100
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_every_task_is_made_with_an_owner() -> None:
    """process.owned makes them; the demo's viewer is a program of its own."""
    makers = {"create_task", "ensure_future"}
    made = [
        place(path, node)
        for path in SOURCES
        if path.name not in ("owned.py", "demo_check.py")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute) and node.attr in makers
    ]
    assert not made


#: Fields of log lines that had several names, or name a person, room or task by half.
OLD_FIELDS = {
    **{name: f"{name}_id" for name in ("app", "bot", "peer", "room", "run", "task", "user")},
    **dict.fromkeys(("err", "error", "msg", "text"), "why"),
    **dict.fromkeys(("source_url", "src"), "source"),
    **dict.fromkeys(("dest", "push_url"), "target"),
    **dict.fromkeys(("name", "what"), "work"),
}


def test_fields_of_the_log_have_one_name_everywhere() -> None:
    found, lines = [], 0
    for path in SOURCES:
        for call in log_calls(parse(path)):
            lines += 1
            names = {keyword.arg for keyword in call.keywords if keyword.arg}
            found += [f"{place(path, call)} {name}: {OLD_FIELDS[name]}" for name in names & set(OLD_FIELDS)]
    assert not found
    assert lines > 80


def test_events_of_the_log_are_constant() -> None:
    made = [
        place(path, call)
        for path in SOURCES
        for call in log_calls(parse(path))
        if not (call.args and isinstance(call.args[0], ast.Constant | ast.Name))
    ]
    assert not made


def log_calls(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and ast.unparse(node.func.value) == "log"
            and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
        ):
            yield node


def test_every_test_has_a_category() -> None:
    folders = {path.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders <= {"unit", "integration", "acceptance", "documents", "hostile", "fuzz"}


def test_unit_tests_use_no_network_process_clock_or_codec() -> None:
    found = []
    for path in UNIT_TESTS:
        tree = parse(path)
        found += [f"{place(path, node)} {name}" for node, name in imports(tree) if name in NOT_IN_UNIT_TESTS]
        found += [f"{place(path, call)} sleep" for call in sleeps(tree)]
    assert not found


def sleeps(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls of a sleep that takes time; ``sleep(0)`` only lets others run."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] == "sleep"
            and [ast.unparse(argument) for argument in node.args] != ["0"]
        ):
            yield node


def test_the_declared_dependencies_are_those_that_the_sources_import() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    declared = {bare_name(text) for text in project["dependencies"]}
    extra = {bare_name(text) for text in project["optional-dependencies"]["demo"]}
    assert not declared & extra
    names = {name for path in SOURCES for _, name in imports(parse(path))}
    owners = packages_distributions()
    imported = {
        bare_name(owners[name][0]) for name in names - sys.stdlib_module_names - {"sluice", "_typeshed"}
    }
    assert imported == declared - IMPORTED_BY_OTHERS | extra


def bare_name(requirement: str) -> str:
    """The name of a requirement as package registries compare it."""
    name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_architecture_shows_the_lifecycle_as_it_is() -> None:
    assert f"```mermaid\n{mermaid()}\n```" in (ROOT / "ARCHITECTURE.md").read_text()


def test_the_readme_shows_options_that_there_are() -> None:
    shown = set(re.findall(r"(?<!\S)`?(--[a-z][a-z-]+)", (ROOT / "README.md").read_text()))
    there_are = {text for option in options(get_command(cli)) for text in option.opts}
    assert shown - {"--help"} <= there_are


def test_every_option_says_what_it_is_for() -> None:
    assert [option.opts for option in options(get_command(cli)) if not option.help] == []


def test_every_command_explains_itself() -> None:
    command = get_command(cli)
    assert {"--version", "--install-completion", "--show-completion"} <= {
        text for option in command.params for text in option.opts
    }
    for words in command_lines(command):
        shown = CliRunner().invoke(cli, [*words, "-h"])
        assert (shown.exit_code, "Usage: " in shown.output) == (0, True), words


def command_lines(command: Any, *words: str) -> Iterator[tuple[str, ...]]:
    """Of the command and of all below it."""
    yield words
    for name, below in getattr(command, "commands", {}).items():
        yield from command_lines(below, *words, name)


def options(command: Any) -> Iterator[Any]:
    """The options of a command line and of all commands below it."""
    for below in getattr(command, "commands", {}).values():
        yield from options(below)
    yield from (parameter for parameter in command.params if parameter.param_type_name == "option")


def test_reasons_can_be_told_apart() -> None:
    numbers = [number for number in REASON_NUMBER.values() if number]
    assert len(set(numbers)) == len(numbers)
    assert len({reason.code for reason in Reason}) == len(Reason)
    assert all(reason.text for reason in Reason if reason is not Reason.NONE)


#: A page of the contract and the sections named after it: "docs/contract/token.md 1", "… 9.1 to 9.3".
CITATION = re.compile(
    r"docs/contract/(?P<page>\w+\.md)(?P<sections>(?:\s+(?:(?:and|to)\s+)?(?:P?\d[\d.]*[a-z]?\b,?))*)"
)
SECTION = re.compile(r"P?\d+(?:\.\d+)*[a-z]?")


def test_what_the_code_cites_is_there() -> None:
    missing, cited = [], 0
    for path in sorted([*SOURCES, *(ROOT / "tests").glob("*/*.py")]):
        text = re.sub(r"\n\s*(?:#:? )?", " ", path.read_text())
        for citation in CITATION.finditer(text):
            cited += 1
            page = ROOT / "docs/contract" / citation["page"]
            there = (
                set(re.findall(r"^(?:#+|\|) (P?\d[\d.]*[a-z]?)\b", page.read_text(), re.M))
                if page.is_file()
                else set()
            )
            wanted = SECTION.findall(citation["sections"])
            if not there or not {section.rstrip(".") for section in there} >= set(wanted):
                missing.append(f"{path.relative_to(ROOT)}: {citation.group()}")
    assert not missing
    assert cited > 50
