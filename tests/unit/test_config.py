"""Settings: the order of their sources, defaults, and what a bad value is answered with."""

import os
from pathlib import Path

import pytest

from sluice.config import (
    BotSettings,
    HttpSettings,
    ListenSettings,
    LogSettings,
    MediaSettings,
    RoomSettings,
    Settings,
    load_settings,
)
from sluice.core.bots import StreamLimits
from sluice.core.callbacks import VENDOR_RETRY
from sluice.core.errors import BadInput
from sluice.core.fairness import AdmissionLimits, SeatLimits


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "sluice.toml"


@pytest.mark.parametrize(
    ("cores", "gb", "rooms", "mb"),
    [(1, 1, 1, 1024), (3, 2, 1, 1024), (4, 6, 1, 3072), (8, 8, 2, 4096), (17, 64, 4, 4096)],
)
def test_defaults(
    toml: Path, monkeypatch: pytest.MonkeyPatch, cores: int, gb: int, rooms: int, mb: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(cores)))
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": gb << 18, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert load_settings({}, {}, toml) == Settings(
        data=Path("data"),
        log=LogSettings("info"),
        listen=ListenSettings("127.0.0.1", 8080),
        rooms=RoomSettings(processes=rooms, media_port=40000, public_ip=()),
        media=MediaSettings(processes=cores, allow_networks=(), most_mb=mb, most_apart=8),
    )


def test_a_flag_wins_over_a_variable_and_that_over_the_file(toml: Path) -> None:
    toml.write_text('data = "a"\nmedia_port = 1\nlog_level = "error"\n')
    environ = {"SLUICE_MEDIA_PORT": "2", "SLUICE_LOG_LEVEL": "debug"}
    settings = load_settings({"log_level": "warning", "media_port": None}, environ, toml)
    assert (settings.data, settings.rooms.media_port, settings.log.level) == (Path("a"), 2, "warning")


def test_fair_shares_are_settings(toml: Path) -> None:
    shares = ("token", "user", "address", "room")
    toml.write_text("\n".join(f"most_{whose}_peers = {n}" for n, whose in enumerate(shares, 1)))
    names = ["token_joins", "address_joins", "failed_logins", "admin_tries", "connections"]
    names += [f"{whose}_streams" for whose in shares]
    environ = {f"SLUICE_MOST_{name.upper()}": str(n) for n, name in enumerate(names, 5)}
    environ["SLUICE_HOSTS"] = "rtc.example.com, other.example"
    settings = load_settings({}, environ, toml)
    assert settings.rooms.seats == SeatLimits(1, 2, 3, 4)
    assert settings.http.admission == AdmissionLimits(5, 6, 7, SeatLimits(10, 11, 12, 13))
    assert (settings.http.admin_tries, settings.http.most_connections) == (8, 9)
    assert settings.http.hosts == ("rtc.example.com", "other.example")


@pytest.mark.parametrize(("text", "cores"), [("1.5", 1.5), ("off", 0.0)])
def test_capacity_is_a_number_of_cores_or_off(toml: Path, text: str, cores: float) -> None:
    assert load_settings({"capacity": text}, {}, toml).capacity == cores
    assert load_settings({}, {}, toml).capacity is None


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "much", "1,5", ""])
def test_a_capacity_that_is_none_is_refused(toml: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"--capacity: write a number of cores above 0, such as 1.5, or off;"):
        load_settings({"capacity": text}, {}, toml)


def test_variables_of_others_are_left_alone(toml: Path) -> None:
    others = {"SLUICE_SOMETHING": "x", "MEDIA_PORT": "41000", "SLUICE_": "x"}
    assert load_settings({}, others, toml) == load_settings({}, {}, toml)


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("0.0.0.0:80", ListenSettings("0.0.0.0", 80)),
        ("[::1]:8080", ListenSettings("::1", 8080)),
        ("localhost:0", ListenSettings("localhost", 0)),
    ],
)
def test_listen(toml: Path, text: str, listen: ListenSettings) -> None:
    settings = load_settings({"listen": text, "metrics_listen": text}, {}, toml)
    assert settings.listen == settings.metrics_listen == listen


@pytest.mark.parametrize("given", ["10.0.0.0/8, fd00::/8", ["10.0.0.0/8", "fd00::/8"]])
def test_lists_are_lists_or_texts_with_commas(toml: Path, given: object) -> None:
    settings = load_settings({"allow_networks": given}, {"SLUICE_PUBLIC_IP": "203.0.113.7,2001:db8::1"}, toml)
    assert settings.media.allow_networks == ("10.0.0.0/8", "fd00::/8")
    assert settings.rooms.public_ip == ("203.0.113.7", "2001:db8::1")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("hosts", "rtc.example.com,a b", "names of hosts"),
        ("hosts", "http://rtc.example.com", "names of hosts"),
        ("most_connections", "0", "at least 1"),
        ("most_token_peers", "x", "whole number"),
        ("listen", "8080", "host:port"),
        ("metrics_listen", "9464", "host:port"),
        ("listen", ":8080", "host:port"),
        ("listen", "localhost:", "host:port"),
        ("listen", "localhost:http", "host:port"),
        ("listen", "localhost:65536", "host:port"),
        ("listen", "localhost:²", "host:port"),
        ("listen", "localhost:" + "9" * 5000, "host:port"),
        ("listen", "::1:8080", "brackets"),
        ("listen", "[localhost]:8080", "brackets"),
        ("media_port", "-1", "must be a number of at least 0"),
        ("media_port", "65536", "must be a number of at most 65535"),
        ("media_port", "many", "must be a whole number"),
        ("room_processes", "0", "must be a number of at least 1"),
        ("media_processes", "257", "must be a number of at most 256"),
        ("public_ip", "example.org", "IP addresses"),
        ("allow_networks", "10.0.0.1/8", "has host bits set"),
        ("keep", "71h", "must be at least 72h"),
        ("keep", "week", "write hours or days"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_bad_value_is_named_with_its_place_and_rule(toml: Path, name: str, value: str, rule: str) -> None:
    for flags, environ, place in (
        ({name: value}, {}, f"--{name.replace('_', '-')}"),
        ({}, {f"SLUICE_{name.upper()}": value}, f"SLUICE_{name.upper()}"),
    ):
        with pytest.raises(BadInput) as caught:
            load_settings(flags, environ, toml)
        assert caught.value.field == place
        assert rule in caught.value.why
        assert value[:100] in caught.value.why


def test_how_long_ended_things_are_kept(toml: Path) -> None:
    assert load_settings({}, {}, toml).keep_s is None
    kept = [load_settings({"keep": value}, {}, toml).keep_s for value in ("72h", "30d")]
    assert kept == [72 * 3600, 30 * 86400]


def test_an_option_that_is_given_often_is_shown_as_it_was_written(toml: Path) -> None:
    with pytest.raises(BadInput, match=r"such as 203\.0\.113\.7 .*; it is banana$"):
        load_settings({"public_ip": ("banana",)}, {}, toml)


@pytest.mark.parametrize(
    ("text", "field", "rule"),
    [
        ("media_prot = 1", "sluice.toml: media_prot", "there is no such setting; did you mean media_port?"),
        ("public_ip = [1]", "sluice.toml: public_ip", "a list of texts"),
        ("media_port = 1.5", "sluice.toml: media_port", "must be a whole number"),
        ("listen = ", "sluice.toml", "not valid TOML"),
        ('listen = "\udcff"', "sluice.toml", "not valid TOML"),
    ],
)
def test_a_bad_file_is_named(toml: Path, text: str, field: str, rule: str) -> None:
    toml.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BadInput) as caught:
        load_settings({}, {}, toml)
    assert caught.value.field.endswith(field)
    assert rule in caught.value.why


def test_room_processes_need_a_port_each(toml: Path) -> None:
    with pytest.raises(BadInput, match="the last would be 65536") as caught:
        load_settings({"media_port": 65534, "room_processes": 3}, {}, toml)
    assert caught.value.field == "--media-port"


CALLBACK = """
[[callbacks]]
app_id = "661e0000000000000000543c"
url = "https://example.com/callback"
secret = "callback-secret"
events = ["RelayStreamStateChanged", "RecordStarted"]
"""


def test_callbacks(toml: Path) -> None:
    toml.write_text('callback_retry = "vendor"' + CALLBACK + CALLBACK + 'business_id = "b1"')
    callbacks = load_settings({}, {}, toml).callbacks
    assert callbacks.retry == VENDOR_RETRY
    first, second = callbacks.registrations
    assert (first.app_id, first.business_id) == ("661e0000000000000000543c", "")
    assert (first.url, first.secret) == ("https://example.com/callback", "callback-secret")
    assert first.events == ("relay_state", "RecordStarted")
    assert first.from_config
    assert second.business_id == "b1"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("https://example.com/callback", "ftp://x", "sluice.toml: callbacks 1: url: must be an address"),
        ('"callback-secret"', "5", "sluice.toml: callbacks 1: secret: a valid string"),
        ('"RecordStarted"', '"Nonsense"', "sluice.toml: callbacks 1: events: there is no event 'Nonsense'"),
        ("661e0000000000000000543c", "a b", "sluice.toml: callbacks 1: app_id: write 1 to 128"),
        ("secret =", "colour =", "sluice.toml: callbacks"),
        (CALLBACK, CALLBACK * 2, "sluice.toml: callbacks: an app and business_id may stand there once"),
        (CALLBACK, 'callback_retry = "never"', "sluice.toml: callback_retry: 'long' or 'vendor'"),
    ],
)
def test_bad_callbacks_are_named_and_no_secret_is_shown(
    toml: Path, before: str, after: str, message: str
) -> None:
    toml.write_text(CALLBACK.replace(before, after))
    with pytest.raises(BadInput) as caught:
        load_settings({}, {}, toml)
    assert str(caught.value).startswith(message)
    assert "callback-secret" not in str(caught.value)


def test_ice_servers_and_that_a_bad_one_is_not_repeated(toml: Path) -> None:
    environ = {"SLUICE_ICE_SERVER": "stun:a.example, turn:anna:secret@b.example"}
    servers = load_settings({}, environ, toml).ice_servers
    assert [(server.url, server.credential) for server in servers] == [
        ("stun:a.example", ""),
        ("turn:b.example", "secret"),
    ]
    with pytest.raises(BadInput) as error:
        load_settings({}, {"SLUICE_ICE_SERVER": "turn:secret@b.example"}, toml)
    assert str(error.value).startswith("SLUICE_ICE_SERVER: write stun:")
    assert "secret" not in str(error.value)


def test_http(toml: Path) -> None:
    toml.write_text('tls_cert = "c.pem"\ntrusted_proxies = ["10.0.0.0/8"]\nallow_unsigned_bodies = true\n')
    environ = {"SLUICE_TLS_KEY": "key.pem", "SLUICE_SIGNED_HOSTS": "rtc.example.com, rtc.example.com:8443"}
    assert load_settings({}, environ, toml).http == HttpSettings(
        tls=(Path("c.pem"), Path("key.pem")),
        trusted_proxies=("10.0.0.0/8",),
        signed_hosts=("rtc.example.com", "rtc.example.com:8443"),
        unsigned_bodies=True,
    )


@pytest.mark.parametrize(
    ("given", "kept"), [("https://h/a/b/", "https://h/a/b"), ("http://h:8443", "http://h:8443"), ("", "")]
)
def test_base_url(toml: Path, given: str, kept: str) -> None:
    assert load_settings({"base_url": given}, {}, toml).http.base_url == kept


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"tls_cert": "c"}, "--tls-cert: is of no use without --tls-key"),
        ({"tls_key": "k"}, "--tls-key: is of no use without --tls-cert"),
        ({"trusted_proxies": "proxy.example"}, "--trusted-proxies: write networks"),
        ({"allow_unsigned_bodies": "perhaps"}, "--allow-unsigned-bodies: "),
        ({"base_url": "example.com/sluice"}, "--base-url: write where callers see the node"),
        ({"base_url": "https://h/a/../b"}, "--base-url: write where callers see the node"),
        ({"base_url": "https://h//a"}, "--base-url: write where callers see the node"),
        ({"base_url": "https://u:p@h/a"}, "--base-url: write where callers see the node"),
        ({"base_url": "https://h/a?b=c"}, "--base-url: write where callers see the node"),
        ({"base_url": "https://[h/"}, "--base-url: "),
    ],
)
def test_bad_http(toml: Path, flags: dict[str, str], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_settings(flags, {}, toml)
    assert str(caught.value).startswith(says)


def test_bots(toml: Path) -> None:
    assert load_settings({}, {}, toml).bots == BotSettings(StreamLimits(None, None), registered_only=False)
    toml.write_text("most_streams = 2\nrequire_registered_channels = true\n")
    settings = load_settings({}, {"SLUICE_MOST_BOT_STREAMS": "50"}, toml)
    assert settings.bots == BotSettings(StreamLimits(per_channel=2, per_bot=50), registered_only=True)
    with pytest.raises(BadInput, match="--most-streams: must be a number of at least 1; it is 0"):
        load_settings({"most_streams": 0}, {}, toml)
