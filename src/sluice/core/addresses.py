"""Which IP addresses outgoing connections may reach: public ones, and the networks that the operator opens.

The check is made on the address that is connected to, never on a name (design 5, address guard).
"""

import ipaddress
from collections.abc import Iterable

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressPolicy:
    def __init__(self, allowed: Iterable[str] = ()) -> None:
        """`allowed`: CIDR texts. Raises ValueError for a text that is no network."""
        self._allowed: tuple[_Network, ...] = tuple(ipaddress.ip_network(text) for text in allowed)

    def permits(self, address: str) -> bool:
        """True for a public address or one in an opened network; False for anything that is no address."""
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(ip, ipaddress.IPv6Address):
            # An IPv4 address in IPv6 clothes reaches the IPv4 host: judge what it reaches.
            inner = _embedded(ip)
            if inner is not None:
                return self.permits(str(inner))
        if any(ip.version == network.version and ip in network for network in self._allowed):
            return True
        return ip.is_global and not ip.is_multicast and not getattr(ip, "is_site_local", False)


def is_address(host: str) -> bool:
    """Whether the host of a URL is an address, which can be judged at once, and no name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


#: NAT64 (RFC 6052, RFC 8215) and the deprecated IPv4-compatible form (RFC 4291 2.5.5.1): the last 32 bits.
_ENDING_IN_IPV4 = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that a packet to this IPv6 address ends up at, None if it is none of those."""
    if ip.is_loopback or ip.is_unspecified:
        return None
    if any(ip in network for network in _ENDING_IN_IPV4):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
