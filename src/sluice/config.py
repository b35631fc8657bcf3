"""Settings: flags win over SLUICE_* variables, these over sluice.toml. They are checked once.

Each part receives only its own frozen dataclass. A bad value raises a BadInput that names its place
(`--listen`, `SLUICE_LISTEN`, `sluice.toml: listen`) and the rule that it broke.
"""

import difflib
import ipaddress
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from sluice.api.proxies import is_prefix
from sluice.callbacks.forms.volcengine_events import events_of
from sluice.core.bots import NO_LIMITS, StreamLimits
from sluice.core.callbacks import LONG_RETRY, VENDOR_RETRY, Registration, RetryPlan
from sluice.core.errors import BadInput
from sluice.core.fairness import PEER_SEATS, AdmissionLimits, SeatLimits
from sluice.core.hosts import host_name
from sluice.core.ice_servers import IceServer, parse_ice_server
from sluice.core.ids import AppId, BusinessId, is_valid_id
from sluice.core.limits import (
    LEAST_MEDIA_MB,
    MOST_ADDRESS_JOINS,
    MOST_ADDRESS_PEERS,
    MOST_ADDRESS_STREAMS,
    MOST_ADMIN_TRIES,
    MOST_CONNECTIONS,
    MOST_FAILED_LOGINS,
    MOST_MEDIA_MB,
    MOST_ROOM_PEERS,
    MOST_ROOM_STREAMS,
    MOST_TOKEN_JOINS,
    MOST_TOKEN_PEERS,
    MOST_TOKEN_STREAMS,
    MOST_USER_PEERS,
    MOST_USER_STREAMS,
)
from sluice.core.tasks import LISTED_S
from sluice.core.urls import CALLBACK_URL


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where HTTP listens. Port 0 lets the system choose."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """Room process `i` uses the UDP port `media_port + i`, or any free one if `media_port` is 0. `public_ip`
    are the addresses in candidates. `most_kept_mb`: memory of each process for pictures that it keeps for
    late viewers. `seats`: the fair shares of its peers."""

    processes: int
    media_port: int
    public_ip: tuple[str, ...]
    most_kept_mb: int = 256
    seats: SeatLimits = PEER_SEATS


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """`allow_networks`: CIDR texts of networks where sources may be, besides public addresses. `most_mb`:
    memory of each process, some 10 MB for each relay. `most_apart`: further processes, for tasks whose
    process died."""

    processes: int
    allow_networks: tuple[str, ...]
    most_mb: int = MOST_MEDIA_MB
    most_apart: int = 8


@dataclass(frozen=True, slots=True)
class CallbackSettings:
    """`registrations` are those of sluice.toml; their times count from the start of the node."""

    retry: RetryPlan
    registrations: tuple[Registration, ...] = ()


@dataclass(frozen=True, slots=True)
class BotSettings:
    """`registered_only`: bots play only into registered channels."""

    limits: StreamLimits = NO_LIMITS
    registered_only: bool = False


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The way from callers to the API. `tls`: PEM files of the certificate chain and of its key.

    `trusted_proxies`: CIDR texts of proxies whose X-Forwarded headers count. `signed_hosts`: the Host that
    callers sign if a proxy sends another one. `base_url`: the node's address for callers, if a proxy puts it
    under a path; empty or without a slash at its end. `unsigned_bodies`: whether presigned calls may have a
    body, which their signature does not cover (docs/contract/signature.md P4). `hosts`: further names of the
    node. `most_connections`: at once; fewer if the system does not allow so many. `admin_tries`: wrong admin
    tokens of an address before it has to wait.
    """

    tls: tuple[Path, Path] | None = None
    trusted_proxies: tuple[str, ...] = ()
    signed_hosts: tuple[str, ...] = ()
    base_url: str = ""
    unsigned_bodies: bool = False
    hosts: tuple[str, ...] = ()
    most_connections: int = MOST_CONNECTIONS
    admin_tries: int = MOST_ADMIN_TRIES
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`form` is `console` or `json`; None: the first on a terminal. Without a `file` lines go to standard
    error."""

    level: str
    form: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    data: Path
    log: LogSettings
    listen: ListenSettings
    rooms: RoomSettings
    media: MediaSettings
    callbacks: CallbackSettings = CallbackSettings(LONG_RETRY)
    http: HttpSettings = HttpSettings()
    ice_servers: tuple[IceServer, ...] = ()  #: browsers are told of them
    bots: BotSettings = BotSettings()
    #: Cores for tasks; 0: nothing is refused and nothing gives way, None: what the machine has.
    capacity: float | None = None
    #: Seconds that ended tasks and settled callbacks are kept; None: the defaults of each.
    keep_s: int | None = None
    metrics_listen: ListenSettings | None = None  #: where `/metrics` needs no token


def load_settings(flags: Mapping[str, object], environ: Mapping[str, str], toml: Path) -> Settings:
    """`flags` have the names of sluice.toml (`media_port`); None: not given. The file `toml` may be missing.

    Raises BadInput.
    """
    names = list(_Raw.model_fields)
    values: dict[str, object] = {}
    places: dict[str, str] = {}
    for name, value in _read_toml(toml).items():
        values[name], places[name] = value, f"{toml.name}: {name}"
    for name in names:
        variable = f"SLUICE_{name.upper()}"
        if variable in environ:
            values[name], places[name] = environ[variable], variable
    for name, value in flags.items():
        if value is not None:
            values[name], places[name] = value, f"--{name.replace('_', '-')}"
    try:
        raw = _Raw.model_validate(values)
    except ValidationError as error:
        raise _bad_input(error, places) from error
    last_port = raw.media_port + raw.room_processes - 1
    if last_port > 65535:
        raise BadInput(
            places.get("media_port", "media_port"),
            f"each of the {raw.room_processes} room processes needs a port; the last would be {last_port}, "
            "the highest there is is 65535",
        )
    registered = [(callback.app_id, callback.business_id) for callback in raw.callbacks]
    if len(set(registered)) < len(registered):
        raise BadInput(places["callbacks"], "an app and business_id may stand there once")
    if (raw.tls_cert is None) != (raw.tls_key is None):
        given, other = ("tls_cert", "tls_key") if raw.tls_cert else ("tls_key", "tls_cert")
        raise BadInput(places[given], f"is of no use without {_written_as(other, places[given])}")
    return Settings(
        data=raw.data,
        log=LogSettings(raw.log_level, raw.log_format, raw.log_file and raw.log_file.absolute()),
        listen=raw.listen,
        rooms=RoomSettings(
            raw.room_processes, raw.media_port, raw.public_ip, raw.most_kept_mb, raw.peer_seats()
        ),
        media=MediaSettings(
            raw.media_processes, raw.allow_networks, raw.most_media_mb, raw.most_apart_processes
        ),
        callbacks=CallbackSettings(
            _RETRIES[raw.callback_retry], tuple(callback.registration() for callback in raw.callbacks)
        ),
        http=_http(raw),
        ice_servers=raw.ice_server,
        bots=BotSettings(
            StreamLimits(raw.most_streams, raw.most_bot_streams), raw.require_registered_channels
        ),
        capacity=raw.capacity,
        keep_s=raw.keep,
        metrics_listen=raw.metrics_listen,
    )


def _written_as(name: str, place: str) -> str:
    """The name of a setting in the form of the place at which another one was given."""
    if place.startswith("--"):
        return f"--{name.replace('_', '-')}"
    return f"SLUICE_{name.upper()}" if place.startswith("SLUICE_") else name


def _parse_listen(value: object) -> ListenSettings:
    """`host:port`; an IPv6 address stands in brackets."""
    host, colon, port = str(value).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if not (colon and host and re.fullmatch("[0-9]{1,5}", port) and int(port) <= 65535):
        raise ValueError("write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    if bracketed != (":" in host):
        raise ValueError("write an IPv6 address in brackets, such as [::1]:8080")
    return ListenSettings(host, int(port))


def _items(value: object) -> tuple[str, ...]:
    """A list, or a text with commas between the items."""
    if isinstance(value, str):
        value = [item.strip() for item in value.split(",") if item.strip()]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("write a list of texts, or one text with commas")
    return tuple(value)


def _parse_addresses(value: object) -> tuple[str, ...]:
    items = _items(value)
    try:
        return tuple(str(ipaddress.ip_address(item)) for item in items)
    except ValueError as error:
        raise ValueError(f"write IP addresses, such as 203.0.113.7 ({error})") from error


def _parse_networks(value: object) -> tuple[str, ...]:
    items = _items(value)
    try:
        return tuple(str(ipaddress.ip_network(item)) for item in items)
    except ValueError as error:
        raise ValueError(f"write networks, such as 10.0.0.0/8,fd00::/8 ({error})") from error


def _parse_events(value: object) -> tuple[str, ...]:
    """Events by their names in the callers' dialect."""
    return events_of(_items(value))


def _check_id(value: str) -> str:
    if value and not is_valid_id(value):
        raise ValueError("write 1 to 128 of a-z A-Z 0-9 _ @ - .")
    return value


def _check_base_url(value: str) -> str:
    parts = urlsplit(value)
    path = parts.path.rstrip("/")
    named = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if value and (not named or parts.query or parts.fragment or (path and not is_prefix(path))):
        raise ValueError("write where callers see the node, such as https://example.com/sluice")
    return value.rstrip("/")


def _parse_hosts(value: object) -> tuple[str, ...]:
    items = _items(value)
    for item in items:
        if item != "*" and host_name(item) is None:
            raise ValueError("write names of hosts, such as rtc.example.com, or * for any")
    return items


def _parse_capacity(value: object) -> float | None:
    try:
        cores = 0.0 if value == "off" else float(str(value))
    except ValueError:
        cores = math.nan
    if value not in (None, "off") and not 0 < cores < math.inf:  # 0 would read as: take no task
        raise ValueError("write a number of cores above 0, such as 1.5, or off")
    return None if value is None else cores


def _parse_ice_servers(value: object) -> tuple[IceServer, ...]:
    return tuple(parse_ice_server(item) for item in _items(value))


def _parse_keep(value: object) -> int:
    """Seconds."""
    found = re.fullmatch("([0-9]{1,5})([hd])", str(value).strip())
    if found is None:
        raise ValueError("write hours or days, such as 72h or 30d")
    seconds = int(found[1]) * (3600 if found[2] == "h" else 86400)
    if seconds < LISTED_S:
        raise ValueError("must be at least 72h, for which callers may list ended tasks")
    return seconds


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _media_mb() -> int:
    """Half of the machine's memory, within bounds, so that one process leaves the rest to the others."""
    half = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 21
    return max(LEAST_MEDIA_MB, min(MOST_MEDIA_MB, half))


_Most = Annotated[int, Field(ge=1)]
_Port = Annotated[int, Field(ge=0, le=65535)]
_Processes = Annotated[int, Field(ge=1, le=256)]


_Id = Annotated[str, AfterValidator(_check_id)]
_RETRIES = {"long": LONG_RETRY, "vendor": VENDOR_RETRY}


class _Callback(BaseModel):
    """One ``[[callbacks]]`` of sluice.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    app_id: Annotated[_Id, Field(min_length=1)]
    business_id: _Id = ""
    url: Annotated[str, AfterValidator(CALLBACK_URL.check)]
    secret: Annotated[str, Field(min_length=1, max_length=256)]
    events: Annotated[tuple[str, ...], BeforeValidator(_parse_events)]

    def registration(self) -> Registration:
        return Registration(
            app_id=AppId(self.app_id),
            business_id=BusinessId(self.business_id),
            url=self.url,
            secret=self.secret,
            events=self.events,
            created_at=0,
            updated_at=0,
            from_config=True,
        )


class _Raw(BaseModel):
    """The settings under the names that people write; `meanings` says what each is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: Path = Path("data")
    listen: Annotated[ListenSettings, BeforeValidator(_parse_listen)] = ListenSettings("127.0.0.1", 8080)
    metrics_listen: Annotated[ListenSettings | None, BeforeValidator(_parse_listen)] = None
    media_port: _Port = 40000
    public_ip: Annotated[tuple[str, ...], BeforeValidator(_parse_addresses)] = ()
    most_kept_mb: Annotated[int, Field(ge=16, le=65536)] = 256
    room_processes: _Processes = Field(default_factory=lambda: max(1, _cores() // 4))
    media_processes: _Processes = Field(default_factory=_cores)
    most_media_mb: Annotated[int, Field(ge=256, le=1 << 20)] = Field(default_factory=_media_mb)
    most_apart_processes: Annotated[int, Field(ge=2, le=256)] = 8
    allow_networks: Annotated[tuple[str, ...], BeforeValidator(_parse_networks)] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(_parse_networks)] = ()
    signed_hosts: Annotated[tuple[str, ...], BeforeValidator(_items)] = ()
    hosts: Annotated[tuple[str, ...], BeforeValidator(_parse_hosts)] = ()
    base_url: Annotated[str, AfterValidator(_check_base_url)] = ""
    allow_unsigned_bodies: bool = False
    callback_retry: Literal["long", "vendor"] = "long"
    callbacks: tuple[_Callback, ...] = ()
    ice_server: Annotated[tuple[IceServer, ...], BeforeValidator(_parse_ice_servers)] = ()
    most_streams: _Most | None = None
    most_bot_streams: _Most | None = None
    require_registered_channels: bool = False
    capacity: Annotated[float | None, BeforeValidator(_parse_capacity)] = None
    # Fair shares; core/limits.py says where the numbers come from.
    most_connections: _Most = MOST_CONNECTIONS
    most_token_peers: _Most = MOST_TOKEN_PEERS
    most_user_peers: _Most = MOST_USER_PEERS
    most_address_peers: _Most = MOST_ADDRESS_PEERS
    most_room_peers: _Most = MOST_ROOM_PEERS
    most_token_streams: _Most = MOST_TOKEN_STREAMS
    most_user_streams: _Most = MOST_USER_STREAMS
    most_address_streams: _Most = MOST_ADDRESS_STREAMS
    most_room_streams: _Most = MOST_ROOM_STREAMS
    most_token_joins: _Most = MOST_TOKEN_JOINS
    most_address_joins: _Most = MOST_ADDRESS_JOINS
    most_failed_logins: _Most = MOST_FAILED_LOGINS
    most_admin_tries: _Most = MOST_ADMIN_TRIES
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] | None = None
    log_file: Path | None = None
    keep: Annotated[int | None, BeforeValidator(_parse_keep)] = None

    def peer_seats(self) -> SeatLimits:
        return SeatLimits(
            self.most_token_peers, self.most_user_peers, self.most_address_peers, self.most_room_peers
        )

    def admission(self) -> AdmissionLimits:
        streams = SeatLimits(
            self.most_token_streams,
            self.most_user_streams,
            self.most_address_streams,
            self.most_room_streams,
        )
        return AdmissionLimits(
            self.most_token_joins, self.most_address_joins, self.most_failed_logins, streams
        )


def _http(raw: _Raw) -> HttpSettings:
    return HttpSettings(
        tls=(raw.tls_cert, raw.tls_key) if raw.tls_cert and raw.tls_key else None,
        trusted_proxies=raw.trusted_proxies,
        signed_hosts=raw.signed_hosts,
        base_url=raw.base_url,
        unsigned_bodies=raw.allow_unsigned_bodies,
        hosts=raw.hosts,
        most_connections=raw.most_connections,
        admin_tries=raw.most_admin_tries,
        admission=raw.admission(),
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadInput(str(path), f"is not valid TOML: {error}") from error


def _bad_input(error: ValidationError, places: Mapping[str, str]) -> BadInput:
    """The first error."""
    first = error.errors()[0]
    name, *inside = first["loc"]
    place = places.get(str(name), str(name))
    if first["type"] == "extra_forbidden":
        model = _Callback if inside else _Raw
        unknown = str(inside[-1] if inside else name)
        meant = _meant(unknown, model.model_fields) or f"there are {', '.join(model.model_fields)}"
        return BadInput(place, f"there is no such setting; {meant}")
    rule = _rule_of(first)
    if inside:  # in one of several, counted from 1; the value may be a secret
        number, *field = inside
        return BadInput(": ".join([f"{place} {int(number) + 1}", *map(str, field)]), rule)
    if name == "ice_server":
        return BadInput(place, rule)  # the value may hold a password
    given = first["input"]
    # An option that may be given several times makes a tuple.
    shown = ", ".join(map(str, given)) if isinstance(given, tuple) else repr(given)
    return BadInput(place, f"{rule}; it is {shown}")


def setting_names() -> tuple[str, ...]:
    """As sluice.toml has them; `meanings` says what each is."""
    return tuple(_Raw.model_fields)


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """A text for each SLUICE_* variable that is no setting; Kubernetes makes some for a service `sluice`."""
    known = {f"SLUICE_{name.upper()}" for name in _Raw.model_fields} | {"SLUICE_URL"}
    unknown = [name for name in environ if name.startswith("SLUICE_") and name not in known]
    return [
        f"{name} is no setting and is not used" + (f"; {meant}" if (meant := _meant(name, known)) else "")
        for name in sorted(unknown)
        if not re.fullmatch("SLUICE_(SERVICE_(HOST|PORT)|PORT)(_.*)?", name)
    ]


def _meant(unknown: str, names: Iterable[str]) -> str:
    """Asks for the nearest name; empty if none is near."""
    close = difflib.get_close_matches(unknown.replace("-", "_"), sorted(names), n=1)
    return f"did you mean {close[0]}?" if close else ""


def _rule_of(error: ErrorDetails) -> str:
    """The rule, as a sentence that follows the setting's name."""
    limits = error.get("ctx", {})
    if error["type"] == "greater_than_equal":
        return f"must be a number of at least {limits['ge']}"
    if error["type"] == "less_than_equal":
        return f"must be a number of at most {limits['le']}"
    if error["type"] in ("int_parsing", "int_type", "int_from_float", "int_parsing_size"):
        return "must be a whole number"
    return error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
