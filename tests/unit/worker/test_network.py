"""The pure parts of functions' network: what is planned, how many slots are kept, what DNS messages say, who the engines are."""

from __future__ import annotations

import ipaddress
import struct
from pathlib import Path

import pytest

from services.worker.sandbox.network.gateway import dns
from services.worker.sandbox.network.gateway.resolver import HostServers
from services.worker.sandbox.network.keeper import stock
from services.worker.sandbox.network.keeper.plan import NEVER, Network, routes
from shared.dispatch.cell.engines import engines
from shared.domain.networks import wants_network
from shared.settings import Settings


def reached(address: str, allowed: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> bool:
    """As the kernel does it: by the longest prefix."""
    where = ipaddress.ip_address(address)
    planned = routes(where.version, *([ipaddress.ip_network(each) for each in given] for given in (allowed, denied)))
    fitting: list[tuple[Network, bool]] = [(network, open_) for network, open_ in planned if where in network]
    return max(fitting, key=lambda each: each[0].prefixlen)[1]


@pytest.mark.parametrize("address", ["8.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "2600::1", "fd12::1"])
def test_without_lists_everything_is_reached_private_networks_too(address: str) -> None:
    assert reached(address)


@pytest.mark.parametrize("network", NEVER, ids=str)
def test_what_is_never_reached_is_not_even_when_it_is_allowed(network: Network) -> None:
    address = str(network.network_address + 1) if network.num_addresses > 2 else str(network.network_address)
    assert not reached(address)
    assert not reached(address, allowed=("0.0.0.0/0", "::/0"))
    assert not reached(address, allowed=(f"{address}/{network.max_prefixlen}",))


def test_denied_networks_stay_so_within_allowed_ones_and_around_them() -> None:
    assert reached("10.2.0.1", allowed=("10.0.0.0/8",), denied=("10.1.0.0/16",))
    assert not reached("10.1.0.1", allowed=("10.0.0.0/8",), denied=("10.1.0.0/16",))
    assert not reached("10.1.0.1", allowed=("10.1.0.0/24",), denied=("10.1.0.0/16",))
    assert not reached("8.8.8.8", allowed=("10.0.0.0/8",))
    assert not reached("2600::1", allowed=("10.0.0.0/8",))
    assert not reached("10.1.0.1", allowed=("10.1.0.0/16",), denied=("10.1.0.0/16",))


def test_more_slots_are_kept_ready_after_a_full_stock_was_taken_and_fewer_when_it_is_quiet() -> None:
    kept = stock.Stock()
    kept.taken(0, 1.0)
    assert kept.wanted == stock.MIN, "it was never full"
    for _ in range(10):
        kept.settle(kept.wanted, 2.0)
        kept.taken(0, 3.0)
    assert kept.wanted == stock.MAX
    kept.settle(kept.wanted, 4.0)
    assert kept.wanted == stock.MAX
    kept.settle(kept.wanted, 3.0 + stock.QUIET_S)
    assert kept.wanted == stock.MAX // 2


def query(name: str, kind: int = dns.A) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, dns.INTERNET)


def test_the_question_of_a_query_is_read() -> None:
    message = query("Some.Name.test")
    question = dns.question_of(message)
    assert question is not None
    assert (question.name, question.kind, question.end) == ("some.name.test", dns.A, len(message))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x" * 11,
        query("a.test")[:-1],
        query("a.test")[:-5],
        b"\x12\x34\x81\x80" + query("a.test")[4:],  # an answer
        query("a.test")[:5] + b"\2" + query("a.test")[6:],  # two questions
        query("a.test")[:12] + b"\xc0\x0c" + bytes(4),  # a pointer to itself
        query("a.test")[:12] + b"\x3f" * 400,  # no end
    ],
)
def test_what_is_no_query_is_left_alone(message: bytes) -> None:
    assert dns.question_of(message) is None


def test_an_answer_of_its_own_is_for_that_question_alone() -> None:
    asked = query("url.test")
    question = dns.question_of(asked)
    assert question is not None
    answer = dns.answer_with(asked, question, "169.254.100.2")
    assert answer[:2] == asked[:2]
    assert answer.endswith(bytes([169, 254, 100, 2]))
    assert dns.answers(asked, question, answer)
    assert not dns.answers(query("other.test"), question, answer)
    assert not dns.answers(asked, question, asked)
    other = query("url.test", dns.AAAA)
    none = dns.question_of(other)
    assert none is not None
    assert struct.unpack_from("!HH", dns.answer_with(other, none, "169.254.100.2"), 4) == (1, 0)


def test_the_hosts_servers_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nothing\nnameserver 127.0.0.53\noptions edns0\nnameserver fe80::1%eth0\nnameserver bad name\n")
    servers = HostServers(file=str(file))
    assert servers() == (("127.0.0.53", 53), ("fe80::1%eth0", 53))
    file.write_text("nameserver 10.0.0.2\n" * 5)
    assert servers() == (("10.0.0.2", 53),) * 3
    file.unlink()
    assert servers() == (("127.0.0.1", 53),)


def test_a_function_has_a_network_unless_it_says_otherwise() -> None:
    assert wants_network({})
    assert wants_network({"LAMBDAD_NETWORK": "public"})
    assert not wants_network({"LAMBDAD_NETWORK": "none"})
    assert not wants_network({"LAMBDAD_NETWORK": "nonne"}), "a slip must not open what was to be closed"


def test_engines_are_those_that_the_settings_name() -> None:
    settings = Settings(
        redis_url="redis://:pw@redis.test/0",
        queues_redis_url="redis://[fd00::1]:7000/0",
        database_url="postgresql://lambdad@db.test/lambdad",
        kafka_bootstrap_servers="one.test:9092, [fd00::2]:9093",
    )
    assert engines(settings) == [
        ("db.test", 5432), ("fd00::1", 7000), ("fd00::2", 9093), ("one.test", 9092), ("redis.test", 6379),
    ]  # fmt: skip
