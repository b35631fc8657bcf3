"""The meanings of settings say what the settings are: names, defaults, flags, examples."""

import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from sluice.cli import cli
from sluice.config import load_settings, setting_names
from sluice.meanings import MEANINGS


def test_every_setting_has_a_meaning() -> None:
    assert set(MEANINGS) == set(setting_names())


@pytest.mark.parametrize("name", [name for name, meaning in MEANINGS.items() if not meaning.computed])
def test_the_default_is_the_one_that_is_told(name: str) -> None:
    told = MEANINGS[name].default
    assert load_settings({name: told}, {}, Path("none.toml")) == load_settings({}, {}, Path("none.toml"))


@pytest.mark.parametrize("name", MEANINGS)
def test_the_example_is_taken(name: str, tmp_path: Path) -> None:
    file = tmp_path / "sluice.toml"
    lines = [f"{name} = {MEANINGS[name].example}"]
    if name in ("tls_cert", "tls_key"):  # one needs the other
        lines = [f"{one} = {MEANINGS[one].example}" for one in ("tls_cert", "tls_key")]
    file.write_text("\n".join(lines).replace("…", "x"))
    assert name in tomllib.loads(file.read_text())
    load_settings({}, {}, file)


def test_those_with_a_flag_are_options_of_serve() -> None:
    serve = get_command(cli).commands["serve"]  # type: ignore[attr-defined]
    options = {option.name for option in serve.params}
    assert options == {name for name, meaning in MEANINGS.items() if meaning.flag}
    assert not any(meaning.flag for meaning in MEANINGS.values() if meaning.secret)
