"""``sluice serve``: an option for each setting that a command line may show."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sluice.local_node import DataOption, settings_with
from sluice.meanings import MEANINGS


def _option(setting: str) -> Any:
    """Of the same name, with the setting's meaning as its help."""
    return typer.Option(help=MEANINGS[setting].help, show_default=False)


def serve(  # noqa: PLR0913 - every setting is an option
    context: typer.Context,
    data: DataOption = None,
    listen: Annotated[str | None, _option("listen")] = None,
    metrics_listen: Annotated[str | None, _option("metrics_listen")] = None,
    media_port: Annotated[int | None, _option("media_port")] = None,
    public_ip: Annotated[list[str] | None, _option("public_ip")] = None,
    room_processes: Annotated[int | None, _option("room_processes")] = None,
    media_processes: Annotated[int | None, _option("media_processes")] = None,
    allow_networks: Annotated[str | None, _option("allow_networks")] = None,
    tls_cert: Annotated[Path | None, _option("tls_cert")] = None,
    tls_key: Annotated[Path | None, _option("tls_key")] = None,
    trusted_proxies: Annotated[str | None, _option("trusted_proxies")] = None,
    base_url: Annotated[str | None, _option("base_url")] = None,
    signed_hosts: Annotated[str | None, _option("signed_hosts")] = None,
    hosts: Annotated[str | None, _option("hosts")] = None,
    allow_unsigned_bodies: Annotated[bool | None, _option("allow_unsigned_bodies")] = None,
    callback_retry: Annotated[str | None, _option("callback_retry")] = None,
    most_streams: Annotated[int | None, _option("most_streams")] = None,
    most_bot_streams: Annotated[int | None, _option("most_bot_streams")] = None,
    require_registered_channels: Annotated[bool | None, _option("require_registered_channels")] = None,
    capacity: Annotated[str | None, _option("capacity")] = None,
    keep: Annotated[str | None, _option("keep")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
    log_format: Annotated[str | None, _option("log_format")] = None,
    log_file: Annotated[Path | None, _option("log_file")] = None,
) -> None:
    """Runs a node until SIGINT or SIGTERM; a second one ends it at once.

    Flags win over SLUICE_* variables, these over ./sluice.toml.

    Some settings have no flag: ice_server and callbacks, which hold secrets,
    most_kept_mb, most_media_mb, most_apart_processes, and the fair shares of
    callers (most_…). docs/en/reference/settings.md has all.
    """
    # Each option has the name of its setting.
    settings = settings_with({**context.params, "public_ip": tuple(public_ip) if public_ip else None})
    from sluice.serving import serve_until_stopped  # the whole node: other commands start in half the time

    serve_until_stopped(settings)
