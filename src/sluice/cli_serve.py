"""``sluice serve``: an option for each setting that a command line may show."""

from pathlib import Path
from typing import Annotated

import typer

from sluice.local_node import DataOption, settings_with

_ProxiesOption = Annotated[
    str | None,
    typer.Option(help="CIDR,… of proxies whose X-Forwarded-For, -Proto, -Host, -Prefix count."),
]
_HostsOption = Annotated[
    str | None,
    typer.Option(
        help="NAME,… that callers know the node by, besides addresses, localhost and --base-url; *: any."
    ),
]

_CapacityOption = Annotated[
    str | None,
    typer.Option(
        help="CORES for tasks; off: none is refused or gives way. Default: three quarters of the machine's"
    ),
]
_ChannelStreamsOption = Annotated[
    int | None,
    typer.Option(help="At most so many streams of bots in one channel at once. Default: any number"),
]
_BotStreamsOption = Annotated[
    int | None,
    typer.Option(help="At most so many streams of one bot at once, in all channels. Default: any number"),
]
_RegisteredOption = Annotated[
    bool | None,
    typer.Option(help="Bots play only into channels that they made or `sluice channel set` named."),
]
_RetryOption = Annotated[
    str | None,
    typer.Option(help="long: a callback is tried for 24 h; vendor: three times. Default: long"),
]
_FormatOption = Annotated[
    str | None, typer.Option(help="console or json. Default: console on a terminal, else json")
]
_LogFileOption = Annotated[
    Path | None, typer.Option(help="Log into this file, which may be moved away meanwhile.")
]
_KeepOption = Annotated[
    str | None,
    typer.Option(
        help="72h, 30d, …: ended tasks and settled callbacks are kept so long. Default: 7d, delivered "
        "callbacks for an hour"
    ),
]
_MetricsOption = Annotated[
    str | None,
    typer.Option(help="HOST:PORT of a further listener, whose /metrics needs no token. Default: none"),
]
_LevelOption = Annotated[str | None, typer.Option(help="debug, info, warning or error. Default: info")]


def serve(  # noqa: PLR0913 - every setting is an option
    context: typer.Context,
    data: DataOption = None,
    listen: Annotated[str | None, typer.Option(help="HTTP address. Default: 127.0.0.1:8080")] = None,
    metrics_listen: _MetricsOption = None,
    media_port: Annotated[
        int | None, typer.Option(help="UDP port of the first room process, 0 for any. Default: 40000")
    ] = None,
    public_ip: Annotated[
        list[str] | None,
        typer.Option(help="Address that browsers reach the media port at; without it: loopback only."),
    ] = None,
    room_processes: Annotated[int | None, typer.Option(help="Default: one per four cores")] = None,
    media_processes: Annotated[int | None, typer.Option(help="Default: one per core")] = None,
    allow_networks: Annotated[
        str | None, typer.Option(help="CIDR,… that sources may be in, besides public addresses.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate chain; read again when it changes.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    trusted_proxies: _ProxiesOption = None,
    base_url: Annotated[str | None, typer.Option(help="https://host/path that callers see.")] = None,
    signed_hosts: Annotated[
        str | None, typer.Option(help="HOST,… that callers sign where a proxy sends another one.")
    ] = None,
    hosts: _HostsOption = None,
    allow_unsigned_bodies: Annotated[
        bool | None, typer.Option(help="Presigned calls may have a body, which nothing protects.")
    ] = None,
    callback_retry: _RetryOption = None,
    most_streams: _ChannelStreamsOption = None,
    most_bot_streams: _BotStreamsOption = None,
    require_registered_channels: _RegisteredOption = None,
    capacity: _CapacityOption = None,
    keep: _KeepOption = None,
    log_level: _LevelOption = None,
    log_format: _FormatOption = None,
    log_file: _LogFileOption = None,
) -> None:
    """Runs a node until SIGINT or SIGTERM; a second one ends it at once.

    Flags win over SLUICE_* variables, these over ./sluice.toml.

    SLUICE_ICE_SERVER, or ice_server there, names STUN and TURN servers that
    browsers are told of: stun:host:port or turn:user:password@host:port. No
    flag: others could read the password. most_kept_mb (256) is what a room
    process may keep of pictures for late viewers. Memory and number of media
    processes, fair shares of connections, peers, event streams and tries are
    settings too: most_… in sluice/config.py, which says what each is.
    """
    # Each option has the name of its setting.
    settings = settings_with({**context.params, "public_ip": tuple(public_ip) if public_ip else None})
    from sluice.serving import serve_until_stopped  # the whole node: other commands start in half the time

    serve_until_stopped(settings)
