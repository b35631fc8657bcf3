"""``sluice doctor``: looks at the machine and the settings, and says what to do."""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.exits import Exit
from sluice.local_node import DataOption, settings_with
from sluice.terminal import JsonOption, Style, print_json, say

if TYPE_CHECKING:
    from sluice.doctor.finding import Finding

_STYLES = {"ok": Style.GREEN, "warning": Style.YELLOW, "bad": Style.RED}


def doctor(
    data: DataOption = None,
    listen: Annotated[str | None, typer.Option(help="HTTP address. Default: 127.0.0.1:8080")] = None,
    media_port: Annotated[int | None, typer.Option(help="UDP port of the first room process.")] = None,
    public_ip: Annotated[
        list[str] | None, typer.Option(help="Address that browsers reach the media port at.")
    ] = None,
    time_url: Annotated[
        str | None, typer.Option(help="Web server whose clock is compared, such as https://example.com")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Checks ports, addresses, clock, disk, limits, codecs, database and proxies; changes nothing.

    Other settings come from SLUICE_* variables and ./sluice.toml, as for
    `serve`. A node may run meanwhile. Exit status 1: something is bad, and a
    node would not start or would serve nobody.
    """
    # They need all that a node needs: other commands start in half the time.
    from sluice.doctor import examine
    from sluice.doctor.finding import Level

    given = {"data": data, "listen": listen, "media_port": media_port}
    settings = settings_with({**given, "public_ip": tuple(public_ip) if public_ip else None})
    findings = []
    for finding in examine(settings, time_url):
        findings.append(finding)
        if not as_json:
            _print(finding)
    is_bad = any(finding.level is Level.BAD for finding in findings)
    if as_json:
        print_json({"ok": not is_bad, "findings": [asdict(finding) for finding in findings]})
    if is_bad:
        sys.exit(Exit.FAILED)


def _print(finding: "Finding") -> None:
    say(f"{finding.level:7}", _STYLES[finding.level.value], end="  ")
    advice = f" → {finding.advice}" if finding.advice else ""
    say(f"{finding.check}: {finding.text}{advice}")
