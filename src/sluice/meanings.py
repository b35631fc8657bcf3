"""What each setting means, said once: for `sluice serve -h`, the reference and the sample sluice.toml.

Commands start without reading settings, so this module knows nothing of `config`. A test compares the names
and defaults of both.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """`form` is what may be written. `default` is a value in that form if `computed` is not set, else a text.
    `example` is a value as sluice.toml has it. `secret`: it may hold a password
    or a key, and has no flag, which others could read."""

    text: str
    form: str
    default: str
    example: str
    computed: bool = False
    flag: bool = True
    variable: bool = True
    secret: bool = False

    @property
    def help(self) -> str:
        return f"{self.text} Value: {self.form}. Default: {self.default}."


def _most(text: str, default: int, example: int | None = None, *, flag: bool = False) -> Meaning:
    return Meaning(text, "number of at least 1", str(default), str(example or default), flag=flag)


def _none(text: str, form: str, example: str, default: str = "none") -> Meaning:
    return Meaning(text, form, default, example, computed=True)


_NODE = {
    "data": Meaning(
        "Folder of the node: its database, keys and lock. It is made at the first start.",
        "path",
        "data",
        '"/var/lib/sluice"',
    ),
    "listen": Meaning(
        "Address and TCP port of HTTP. Port 0: any free one.",
        "host:port",
        "127.0.0.1:8080",
        '"0.0.0.0:8080"',
    ),
    "capacity": Meaning(
        "Cores that tasks may use. What does not fit is refused. off: nothing is refused or gives way.",
        "number of cores, or off",
        "three quarters of the machine's cores",
        "1.5",
        computed=True,
    ),
    "keep": Meaning(
        "How long ended tasks and settled callbacks are kept, at least 72h.",
        "hours or days: 72h, 30d",
        "7d, delivered callbacks for an hour",
        '"30d"',
        computed=True,
    ),
}

_HTTP = {
    "tls_cert": _none(
        "PEM file of the certificate chain; read again when it changes. Needs tls_key.",
        "path",
        '"/etc/sluice/chain.pem"',
        "none: plain HTTP",
    ),
    "tls_key": _none("PEM file of the certificate's key.", "path", '"/etc/sluice/key.pem"'),
    "trusted_proxies": _none(
        "Networks of proxies whose X-Forwarded-For, -Proto, -Host and -Prefix count.",
        "list of networks",
        '["127.0.0.1/32"]',
    ),
    "base_url": _none(
        "Address at which callers see the node, if a proxy puts it under a path.",
        "http or https URL",
        '"https://example.com/sluice"',
    ),
    "hosts": _none(
        "Names that callers know the node by, besides addresses, localhost and base_url. *: any name.",
        "list of host names, or *",
        '["rtc.example.com"]',
    ),
    "signed_hosts": _none(
        "Hosts that callers sign if a proxy sends another one to the node.",
        "list of hosts",
        '["rtc.volcengineapi.com"]',
    ),
    "allow_unsigned_bodies": Meaning(
        "Presigned calls may have a body, which their signature does not protect.",
        "true or false",
        "false",
        "true",
    ),
    "metrics_listen": _none(
        "A further listener whose /metrics needs no token.", "host:port", '"127.0.0.1:9464"'
    ),
}

_ROOMS = {
    "public_ip": _none(
        "Addresses at which browsers reach the media port.",
        "list of IP addresses",
        '["203.0.113.7"]',
        "none: browsers of this machine only",
    ),
    "media_port": Meaning(
        "UDP port of the first room process; each further one takes the next. 0: any free ones.",
        "port",
        "40000",
        "40000",
    ),
    "ice_server": Meaning(
        "STUN and TURN servers that browsers are told of. No flag: others could read the password.",
        "list of stun:host:port, turn:user:password@host:port",
        "none",
        '["stun:stun.example.com:3478"]',
        computed=True,
        flag=False,
        secret=True,
    ),
    "room_processes": Meaning(
        "Processes that carry rooms.", "1 to 256", "one for four cores", "2", computed=True
    ),
    "most_kept_mb": Meaning(
        "Megabytes of each room process for pictures that it keeps for late viewers.",
        "16 to 65536",
        "256",
        "512",
        flag=False,
    ),
}

_MEDIA = {
    "allow_networks": _none(
        "Networks that sources, CDNs and receivers of callbacks may be in, besides public addresses.",
        "list of networks",
        '["10.0.0.0/8"]',
    ),
    "media_processes": Meaning(
        "Processes that read sources and convert media.", "1 to 256", "one for each core", "4", computed=True
    ),
    "most_media_mb": Meaning(
        "Megabytes of memory that each media process may take.",
        "256 to 1048576",
        "half of the machine's memory, between 1024 and 4096",
        "2048",
        computed=True,
        flag=False,
    ),
    "most_apart_processes": Meaning(
        "Further media processes, each for one task whose process died before.",
        "2 to 256",
        "8",
        "8",
        flag=False,
    ),
}

_BOTS = {
    "most_streams": _none(
        "Streams of bots in one channel at once.", "number of at least 1", "1", "any number"
    ),
    "most_bot_streams": _none(
        "Streams of one bot at once, in all channels.", "number of at least 1", "10", "any number"
    ),
    "require_registered_channels": Meaning(
        "Bots play only into channels that they made or `sluice channel set` named.",
        "true or false",
        "false",
        "true",
    ),
}

_CALLBACKS = {
    "callback_retry": Meaning(
        "How long a callback is tried. long: for 24 hours; vendor: three times.",
        "long or vendor",
        "long",
        '"vendor"',
    ),
    "callbacks": Meaning(
        "Registrations of apps for callbacks: tables of app_id, business_id, url, secret and events. "
        "No flag and no variable.",
        "list of tables",
        "none",
        '[{app_id = "…", url = "https://example.com/told", secret = "…", events = ["UserJoinRoom"]}]',
        computed=True,
        flag=False,
        variable=False,
        secret=True,
    ),
}

_LOG = {
    "log_level": Meaning("The least that is logged.", "debug, info, warning or error", "info", '"warning"'),
    "log_format": _none(
        "Form of the log's lines.", "console or json", '"json"', "console on a terminal, else json"
    ),
    "log_file": _none(
        "Log into this file, which may be moved away; SIGHUP opens it again.",
        "path",
        '"/var/log/sluice/sluice.log"',
        "standard error",
    ),
}

_SHARES = {
    "most_connections": _most(
        "HTTP connections at once; fewer if the system does not allow so many files.", 10_000
    ),
    "most_token_peers": _most("Peers of one user at one address, in each room process.", 256),
    "most_user_peers": _most("Peers of one user at all addresses, in each room process.", 2000),
    "most_address_peers": _most("Peers of one address, in each room process.", 4000),
    "most_room_peers": _most("Peers of one room.", 4500),
    "most_token_streams": _most("Event streams of one user at one address.", 128),
    "most_user_streams": _most("Event streams of one user at all addresses.", 2000),
    "most_address_streams": _most("Event streams of one address.", 4000),
    "most_room_streams": _most("Event streams of one room.", 4500),
    "most_token_joins": _most("Offers of one user at one address in a minute.", 600),
    "most_address_joins": _most("Offers of one address in a minute.", 12_000),
    "most_failed_logins": _most("Invalid tokens of one address in a minute.", 6000),
    "most_admin_tries": _most("Wrong admin tokens of one address in a row before it has to wait.", 10),
}

#: By the parts of a node, in the order in which they are read.
SECTIONS: Mapping[str, Mapping[str, Meaning]] = {
    "Node": _NODE,
    "HTTP": _HTTP,
    "Rooms": _ROOMS,
    "Sources and media": _MEDIA,
    "Bots": _BOTS,
    "Callbacks": _CALLBACKS,
    "Log": _LOG,
    "Fair shares of callers": _SHARES,
}

MEANINGS: Mapping[str, Meaning] = {
    name: meaning for section in SECTIONS.values() for name, meaning in section.items()
}
