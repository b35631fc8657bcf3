"""``sluice serve``: each option reaches the setting of its name."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from sluice import cli as module
from sluice import serving
from sluice.config import Settings
from sluice.local_node import settings_with

OPTIONS = {
    "data": "folder",
    "listen": "127.0.0.1:8081",
    "metrics_listen": "127.0.0.1:9464",
    "media_port": "41000",
    "room_processes": "2",
    "media_processes": "3",
    "allow_networks": "10.0.0.0/8,fd00::/8",
    "tls_cert": "c.pem",
    "tls_key": "k.pem",
    "trusted_proxies": "192.0.2.0/24",
    "base_url": "https://rtc.example.com/sluice",
    "signed_hosts": "a.example",
    "hosts": "b.example",
    "callback_retry": "vendor",
    "most_streams": "4",
    "most_bot_streams": "5",
    "capacity": "1.5",
    "keep": "30d",
    "log_level": "warning",
    "log_format": "json",
    "log_file": "node.log",
}


def command(name: str) -> Any:
    commands: Any = get_command(module.cli)
    return commands.commands[name]


def test_every_option_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    served: list[Settings] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serving, "serve_until_stopped", served.append)
    flags = [part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", value)]
    flags += ["--public-ip", "203.0.113.7", "--public-ip", "2001:db8::1"]
    flags += ["--allow-unsigned-bodies", "--require-registered-channels"]
    result = CliRunner().invoke(module.cli, ["serve", *flags])
    assert result.exit_code == 0, result.output
    expected: dict[str, object] = OPTIONS | {"public_ip": ("203.0.113.7", "2001:db8::1")}
    expected |= {"allow_unsigned_bodies": True, "require_registered_channels": True}
    assert set(expected) == {option.name for option in command("serve").params}
    assert served == [settings_with(expected)]
    assert served[0].rooms.public_ip == ("203.0.113.7", "2001:db8::1")
    assert served[0].http.unsigned_bodies
    assert CliRunner().invoke(module.cli, ["serve"]).exit_code == 0
    assert served[1] == settings_with({})
