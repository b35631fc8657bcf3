"""How far the connections of a source came, and what the address guard said."""

from sluice.core.addresses import AddressPolicy
from sluice.core.limits import MOST_NOTED_HOSTS
from sluice.net.way import NotedWay

POLICY = AddressPolicy(["10.0.0.0/8"])


def judged(way: NotedWay, host: str, *addresses: str) -> None:
    way.judged(host, [POLICY.judge(address) for address in addresses])


def test_each_step() -> None:
    way = NotedWay()
    assert way.so_far == "the name of its server was not resolved"
    assert way.reached() == {"step": "nothing", "connections": 0, "url": None, "status": None, "bytes": 0}
    judged(way, "h.example", "8.8.8.8")
    assert way.so_far.endswith("was resolved, and the connection was not complete")
    way.connected()
    assert way.so_far == "it was connected to, and its answer was not complete"
    way.answered("http://user:word@h.example/a?token=1", 302)
    assert way.so_far == "it answered with status 302, and nothing came behind that"
    way.connected()
    way.answered("rtmp://h.example/live", None)
    way.received(10)
    way.received(5)
    judged(way, "other.example", "8.8.4.4")
    assert way.so_far == "it answered, and 15 bytes came"
    assert way.reached() == {
        "step": "received",
        "connections": 2,
        "url": "rtmp://h.example/live",
        "status": None,
        "bytes": 15,
    }


def test_addresses_are_masked() -> None:
    way = NotedWay()
    way.answered("http://user:word@h.example/a?token=1", 200)
    assert way.reached()["url"] == "http://***@h.example/a?token=***"


def test_the_verdict() -> None:
    way = NotedWay()
    assert way.guard()["allowed"] is None
    judged(way, "h.example", "10.1.2.3", "192.168.0.1")
    guard = way.guard()
    assert guard["allowed"] is True
    assert guard["hosts"] == [
        {
            "host": "h.example",
            "allowed": True,
            "addresses": [
                {
                    "address": "10.1.2.3",
                    "allowed": True,
                    "why": "is in 10.0.0.0/8, which --allow-networks opens",
                },
                {
                    "address": "192.168.0.1",
                    "allowed": False,
                    "why": "is in 192.168.0.0/16, which is not public; --allow-networks can open its network",
                },
            ],
        }
    ]
    judged(way, "inner.example", "192.168.0.2")
    guard = way.guard()
    assert guard["allowed"] is False
    assert guard["why"].startswith("inner.example: 192.168.0.2 is in 192.168.0.0/16")


def test_a_server_that_is_refused_is_no_step() -> None:
    way = NotedWay()
    judged(way, "h.example", "127.0.0.1")
    assert way.reached()["step"] == "nothing"


def test_it_is_bounded() -> None:
    way = NotedWay()
    for n in range(1000):
        judged(way, f"h{n}.example", "8.8.8.8" if n else "127.0.0.1")
        judged(way, f"i{n}.example", "127.0.0.1")
    guard = way.guard()
    assert (len(guard["hosts"]), guard["allowed"]) == (MOST_NOTED_HOSTS, False)
