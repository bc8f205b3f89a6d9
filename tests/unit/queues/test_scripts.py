"""Lua files that say what they take, and receipt handles that cannot be taken for others."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.arns import Home
from shared.queues.keys import FIFO, STANDARD, packed, stream_of
from shared.queues.receipts import Receipt
from shared.queues.records import QueueId
from shared.queues.scripts import SCRIPTS
from shared.redis.scripts import Script

OWN = Home("000000000000", "us-east-1")


@pytest.mark.parametrize("each", SCRIPTS.all(), ids=lambda each: each.name)
def test_every_script_catalogues_its_keys_and_reply_and_says_whether_it_runs_without_room(each: Script) -> None:
    shebang, _, text = each.body.decode().partition("\n")
    assert shebang in ("#!lua", "#!lua flags=allow-oom")
    header = text[: re.search(r"^[^-]", text, re.M).start()]  # type: ignore[union-attr]
    for word in ("KEYS", "Reply"):
        assert word in header, f"{each.name}: {word}"
    if "ARGV[2]" in text:
        assert "ARGV[" in header
    assert "XADD" not in text or "allow-oom" not in shebang or "LATER" in text


def test_all_keys_of_a_queue_share_the_slot_of_its_stream() -> None:
    for fifo, names in ((False, STANDARD), (True, FIFO)):
        words = packed("queue:name", fifo=fifo).split(b"\r\n")[1::2]
        assert words == [b"10", b"queue:name", *(b"{queue:name}:" + name.encode() for name in names)]


def test_queues_of_other_homes_have_other_streams() -> None:
    homes = [OWN, Home(OWN.account_id, "eu-west-1"), Home("111111111111", OWN.region)]
    streams = [stream_of(QueueId(home, "name"), OWN) for home in homes]
    assert streams == ["queue:name", "queue:eu-west-1:name", "queue:111111111111:us-east-1:name"]


def test_a_receipt_is_what_its_handle_says() -> None:
    receipt = Receipt("queue:name", "1-0", 7)
    assert Receipt.of(receipt.handle()) == receipt


@given(st.one_of(st.text(max_size=200), st.binary(max_size=100).map(lambda data: data.hex())))
def test_nonsense_is_no_receipt(handle: str) -> None:
    assert Receipt.of(handle) is None


@pytest.mark.parametrize("of", ["a b", "queue:q 1-0 x", "queue:q 1 1", "queue:q 1-0 1 1", "queue:q 1-0 -1", "queue:q 1-0 ²"])
def test_what_is_almost_a_receipt_is_none(of: str) -> None:
    assert Receipt.of(base64.b64encode(of.encode()).decode()) is None


def test_a_handle_that_is_too_long_is_none() -> None:
    assert Receipt.of(Receipt("queue:" + "x" * 2_000, "1-0", 1).handle()) is None
