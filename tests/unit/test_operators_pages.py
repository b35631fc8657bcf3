"""What the pages for operators name exists: tests that show a promise, reasons of tasks, alerts."""

import ast
import re
from pathlib import Path

import pytest

from sluice.core.lifecycle import Reason

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs/en"
_FAULTS = "tests/acceptance/faults/test_faults.py"
_CITED = re.compile(r"`(?P<file>tests/[\w/]+\.py)?::(?P<name>\w+)`|`(?P<fault>test_\w+)`")


def _names(file: str) -> set[str]:
    """Of the tests, and classes of tests, in a file."""
    tree = ast.parse((_ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("page", ["guarantees", "faults", "security"])
def test_tests_that_are_cited_exist(page: str) -> None:
    file, cited = "", 0
    for found in _CITED.finditer((_DOCS / f"explanation/{page}.md").read_text()):
        file = found["file"] or file
        where, name = (_FAULTS, found["fault"]) if found["fault"] else (file, found["name"])
        assert name in _names(where), f"{page}.md cites {where}::{name}"
        cited += 1
    assert cited


def test_each_reason_of_a_task_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (_DOCS / "how-to/troubleshooting.md").read_text(), re.MULTILINE)
    assert {reason.code for reason in Reason} <= set(rows)


def test_each_alert_has_advice() -> None:
    alerts = re.findall(r"alert: (\w+)", (_ROOT / "deploy/prometheus/alerts.yml").read_text())
    page = (_DOCS / "how-to/operate.md").read_text()
    assert alerts
    assert not [alert for alert in alerts if f"`{alert}`" not in page]
