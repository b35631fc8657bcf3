"""The address guard's judgement: of addresses, and of names when they are resolved."""

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.core.addresses import AddressPolicy, is_address
from sluice.core.errors import SourceError
from sluice.core.lifecycle import Reason
from sluice.net.dial import Dialer


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "192.0.1.1",
        "192.88.98.1",
        "2001:200::1",
    ],
)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressPolicy().permits(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "", "example.com", "127.1",
        "::ffff:0:8.8.8.8", "::ffff:0:10.0.0.1", "64:ff9b::192.0.0.1", "64:ff9b:1::8.8.8.8", "64:ff9b:1::",
        "64:ff9b:1:ffff:ffff:ffff:808:808", "192.0.0.0", "192.0.0.9", "192.0.0.170", "192.0.0.255",
        "::ffff:192.0.0.8", "192.88.99.0", "192.88.99.1", "192.88.99.255", "3fff::", "3fff:fff::1",
        "5f00::1", "5f00:ffff::", "2002:808:808::1", "2002:a00:1::1", "2001::1", "2001:1::1", "2001:10::1",
        "2001:20::1", "2001:30::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1",
        "100:0:0:1::1", "::8.8.8.8", "1::1", "4000::1", "e000::1", "198.18.0.1", "192.0.2.1", "240.0.0.1",
        "198.51.100.1", "203.0.113.1", "0.1.2.3", "ff0e::1", "239.1.1.1", "1.1.1.1/32", "::1%", "127.0.0.1%x",
        "0x7f000001", "64:ff9b::a00:1", "64:ff9b:1::7f00:1", "::127.0.0.1", "::10.0.0.1", "fec0::1",
    ],
)  # fmt: skip
def test_everything_else_is_not(address: str) -> None:
    assert not AddressPolicy().permits(address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("8.8.8.8", "is public"),
        ("10.0.0.1", "is in 10.0.0.0/8, which --allow-networks opens"),
        ("127.0.0.1", "is in 127.0.0.0/8, which is not public; --allow-networks can open its network"),
        ("fd00::1", "is not public; --allow-networks can open its network"),
        (
            "::ffff:192.168.0.1",
            "reaches 192.168.0.1, which is in 192.168.0.0/16, which is not public; --allow-networks can open "
            "its network",
        ),
        ("64:ff9b::8.8.8.8", "reaches 8.8.8.8, which is public"),
        ("example.com", "is no address"),
    ],
)
def test_the_reason_is_told(address: str, why: str) -> None:
    verdict = AddressPolicy(["10.0.0.0/8"]).judge(address)
    assert (verdict.address, verdict.why) == (address, why)


def test_opened_networks() -> None:
    policy = AddressPolicy(["127.0.0.0/8", "fd00::/8"])
    assert policy.permits("127.0.0.1")
    assert policy.permits("::ffff:127.0.0.1")
    assert policy.permits("fd00::1")
    assert not policy.permits("10.0.0.1")
    assert AddressPolicy(["10.0.0.0/8"]).permits("64:ff9b::10.0.0.1")
    assert AddressPolicy(["64:ff9b:1::/48", "2002::/16"]).permits("64:ff9b:1::8.8.8.8")


@given(
    st.text(max_size=40)
    | st.text("0123456789abcdef.:%/x[]", max_size=24)
    | st.ip_addresses().map(str).flatmap(lambda ip: st.sampled_from([ip, f"{ip}%x", f"[{ip}]", f"{ip}/32"]))
)
def test_a_text_that_is_no_address_is_never_permitted(text: str) -> None:
    everything = AddressPolicy(["0.0.0.0/0", "::/0"])
    assert everything.permits(text) is is_address(text)
    assert is_address(text) or not AddressPolicy().permits(text)


@given(st.ip_addresses())
def test_an_address_is_permitted_where_its_network_is_opened(ip: IPv4Address | IPv6Address) -> None:
    assert AddressPolicy(["0.0.0.0/0", "::/0"]).permits(str(ip))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.169.254", "127.1", "0x7f.1", "2130706433"])
def test_resolving_an_address_that_is_not_allowed(host: str) -> None:
    with pytest.raises(SourceError, match="--allow-networks") as caught:
        asyncio.run(Dialer(AddressPolicy()).resolve(host))
    assert caught.value.reason is Reason.ADDRESS_NOT_ALLOWED
    assert not caught.value.transient
    assert host in str(caught.value)


def test_resolving_an_allowed_address() -> None:
    assert asyncio.run(Dialer(AddressPolicy(["127.0.0.0/8"])).resolve("127.0.0.1")) == ["127.0.0.1"]


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_a_name_that_cannot_be_one(host: str) -> None:
    with pytest.raises(SourceError, match="cannot be resolved") as caught:
        asyncio.run(Dialer(AddressPolicy()).resolve(host))
    assert caught.value.reason is Reason.SOURCE_UNREACHABLE
    assert caught.value.transient
