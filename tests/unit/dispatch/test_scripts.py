"""Commands as Redis reads them, names that cannot break keys, and Lua files that say what they take."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.dispatch.cell import keys as keys_module
from shared.dispatch.cell.keys import CHANNEL_EVENTS, Keys, check_instance_name
from shared.dispatch.cell.scripts import SCRIPTS, script
from shared.redis.scripts import Script, pack


def test_a_command_is_packed_as_redis_reads_it() -> None:
    assert pack("SET", "é", 1) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$1\r\n1\r\n"


def test_a_call_can_be_finished_by_appending_and_carries_its_body_when_redis_forgot_it() -> None:
    one = Script("one", b"return 1")
    whole = one.command(("k",), "a", "b")
    assert one.prefix(("k",), 2, "a") + b"$1\r\nb\r\n" == whole
    assert one.head(1, 2) + one.tail(("k",), "a", "b") == whole
    assert b"EVAL\r\n$8\r\nreturn 1\r\n" in one.by_body(whole)


@pytest.mark.parametrize("each", SCRIPTS.all(), ids=lambda each: each.name)
def test_every_script_catalogues_its_keys_arguments_and_reply(each: Script) -> None:
    text = each.body.decode()
    header = text[: re.search(r"^[^-]", text, re.M).start()]  # type: ignore[union-attr]
    for word in ("KEYS", "ARGV", "Reply"):
        assert word in header, f"{each.name}: {word}"
    keys = max((int(n) for n in re.findall(r"KEYS\[(\d+)\]", text)), default=0)
    assert re.search(rf"\b{keys}\b", header)


def test_what_is_published_is_what_the_channel_is_said_to_carry() -> None:
    folder = Path(keys_module.__file__).parent
    sources = "\n".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".lua", ".py"))
    published = re.findall(r"""\.\. 'events', '(\w+)|\.events, f?"(\w+)""", sources)
    assert {lua or python for lua, python in published} == set(CHANNEL_EVENTS)


def test_the_same_script_is_read_once() -> None:
    assert script("acquire") is script("acquire")


def test_every_key_of_a_cell_shares_one_slot() -> None:
    keys = Keys("blue")
    for key in (keys.state, keys.idle("v"), keys.envs("w"), keys.leases("h", "u"), keys.leader):
        assert key.startswith("lambdad:{blue}:")


@pytest.mark.parametrize("name", ["", "a b", "a@b", "a#b", "a,b", "a\nb", "x" * 201])
def test_names_that_would_break_a_lease_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="named"):
        check_instance_name(name)
