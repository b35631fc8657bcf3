"""Which IP addresses outgoing connections may reach: public ones, and the networks that the operator opens.

The check is made on the address that is connected to, never on a name.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an address may be connected to. `why` is said of it: "is public"."""

    address: str
    permitted: bool
    why: str


class AddressPolicy:
    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed`: CIDR texts. Raises ValueError for a text that is no network."""
        self._allowed: tuple[_Network, ...] = tuple(ipaddress.ip_network(text) for text in allowed)

    def permits(self, address: str) -> bool:
        """True for a public address or one in an opened network; False for anything that is no address."""
        return self.judge(address).permitted

    def judge(self, address: str) -> Verdict:
        """As `permits`, with the reason."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return Verdict(address, False, "is no address")
        # An IPv6 address that embeds an IPv4 address reaches the IPv4 host: that one is judged.
        reaches = ""
        if isinstance(ip, ipaddress.IPv6Address) and (inner := _embedded(ip)) is not None:
            ip, reaches = inner, f"reaches {inner}, which "
        opened, special = _network_of(ip, self._allowed), _network_of(ip, _SPECIAL)
        if opened is not None:
            return Verdict(address, True, f"{reaches}is in {opened}, which --allow-networks opens")
        if special is None and _network_of(ip, _GLOBAL) is not None:
            return Verdict(address, True, f"{reaches}is public")
        where = f"is in {special}, which is not public" if special is not None else "is not public"
        return Verdict(address, False, f"{reaches}{where}; --allow-networks can open its network")


def is_address(host: str) -> bool:
    """Whether the host of a URL is an address and no name; an address can be judged at once."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _network_of(
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: tuple[_Network, ...]
) -> _Network | None:
    return next((one for one in networks if ip.version == one.version and ip in one), None)


#: IPv4, and the part of IPv6 for global unicast (RFC 4291 2.4, IANA). The translated forms ::ffff:0:0:0/96
#: and 64:ff9b:1::/48, 100::/64, 5f00::/16 and local addresses lie outside.
_GLOBAL = _networks("0.0.0.0/0", "2000::/3")
#: Multicast, and the addresses that IANA's registries of special-purpose addresses do not call globally
#: reachable (RFC 6890 and its updates). The tables are our own, since those of Python differ by its version.
_SPECIAL = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
    *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    # Protocol assignments with Teredo and ORCHID, documentation, 6to4, documentation.
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
#: The one prefix of NAT64 that is the same everywhere (RFC 6052 2.1): the last 32 bits.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a packet to this IPv6 address arrives at; None where that is not certain."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped
