"""The Lua scripts of queues, in lua/, and what their calls and replies look like. Nothing here talks to Redis."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from shared.queues.keys import KEY_COUNT
from shared.queues.receipts import Receipt
from shared.queues.records import (
    IN_FLIGHT_MAX,
    IN_FLIGHT_MAX_FIFO,
    Attribute,
    Message,
    QueueSettings,
    Received,
    Sent,
    TooLong,
)
from shared.redis.scripts import Argument, Folder, bulk

SCRIPTS = Folder(Path(__file__).parent / "lua")
_NO_ATTRIBUTES = b"{}"
_attributes = msgspec.json.Decoder(dict[str, Attribute])
_msgpack = msgspec.msgpack.Encoder().encode


class Letter(msgspec.Struct, frozen=True):
    """What a message that is moved brings along. sent_at_ms: None is now. receives: before it was moved."""

    message_id: str
    source_arn: str | None = None
    sent_at_ms: int | None = None
    receives: int = 0
    first_received_at_ms: int | None = None


def call(name: str, keys: bytes, arguments: Sequence[Argument]) -> bytes:
    """keys: as `keys.packed` has them."""
    return SCRIPTS.script(name).head(KEY_COUNT, len(arguments)) + keys + b"".join(map(bulk, arguments))


def settings_arguments(settings: QueueSettings, *, fifo: bool) -> list[Argument]:
    """The revision, then fields and values of the hash that scripts read."""
    letters = settings.dead_letters
    fields: dict[str, Argument] = {
        "visibility_ms": settings.visibility_s * 1_000,
        "delay_ms": settings.delay_s * 1_000,
        "retention_ms": settings.retention_s * 1_000,
        "wait_ms": settings.wait_s * 1_000,
        "bytes_max": settings.message_bytes_max,
        "content_based": int(settings.content_based_deduplication),
        "by_group": int(settings.deduplicate_by_group),
        "in_flight_max": settings.in_flight_max or (IN_FLIGHT_MAX_FIFO if fifo else IN_FLIGHT_MAX),
    }
    if letters is not None:
        fields |= {"dead_letters": letters.target.arn, "receives_max": letters.receives_max}
    return [settings.revision, *(word for field in fields.items() for word in field)]


Told = tuple[str, str, str, int, int | None, str, str, str, str, int | None, list[str]]
"""What a script is told of a message beside its body, in the order of lua/parts/messages.lua."""


def told(messages: Sequence[Message], letters: Sequence[Letter | None], *, fifo: bool) -> list[Told]:
    random = os.urandom(16 * sum(message.delivery_id is None for message in messages))
    ids = iter([random[at : at + 16] for at in range(0, len(random), 16)])
    return [_told(message, letter, ids, fifo=fifo) for message, letter in zip(messages, letters, strict=True)]


def _told(message: Message, letter: Letter | None, ids: Iterator[bytes], *, fifo: bool) -> Told:
    """ids: 16 random bytes for each message whose id follows from nothing."""
    further: list[str] = []
    if message.sender_id:
        further += ("sender_id", message.sender_id)
    if message.trace_header:
        further += ("trace_header", message.trace_header)
    if letter is not None:
        if letter.source_arn is not None:
            further += ("source_arn", letter.source_arn)
        if letter.receives:
            further += ("receives", str(letter.receives))
        if letter.first_received_at_ms is not None:
            further += ("first_received_ms", str(letter.first_received_at_ms))
    delivery = None if message.delivery_id is None else hashlib.md5(message.delivery_id.encode(), usedforsecurity=False)
    return (
        letter.message_id if letter is not None else _uuid(next(ids) if delivery is None else delivery.digest()),
        msgspec.json.encode(message.attributes).decode() if message.attributes else "{}",
        md5_of(message.body),
        # What is moved was accepted before: no bound of its new queue may lose it.
        message.size_bytes if letter is None else 0,
        None if message.delay_s is None else message.delay_s * 1_000,
        "" if delivery is None else delivery.hexdigest(),
        message.group_id or "",
        message.deduplication_id or "",
        hashlib.sha256(message.body).hexdigest() if fifo and not message.deduplication_id else "",
        None if letter is None else letter.sent_at_ms,
        further,
    )


def send_arguments(about: Sequence[Told], messages: Sequence[Message]) -> list[Argument]:
    return [_msgpack(about), *(message.body for message in messages)]


def sent(answers: Sequence[bytes | int], about: Sequence[Told]) -> list[Sent | TooLong]:
    results: list[Sent | TooLong] = []
    for answer, (_, _, md5_of_body, *_) in zip(answers, about, strict=True):
        if isinstance(answer, int):
            results.append(TooLong(answer))
        else:
            message_id, _, sequence = answer.decode().partition(" ")
            results.append(Sent(message_id, md5_of_body, sequence or None))
    return results


def received(stream: str, words: Sequence[bytes | int | list[bytes]], *, fifo: bool) -> list[tuple[Received, bool]]:
    """Messages, and whether each is a dead letter. words: five of each."""
    return [
        (_received(stream, words[at : at + 5], fifo=fifo), words[at + 3] == 1)  # one message's
        for at in range(0, len(words), 5)
    ]


def _received(stream: str, words: Sequence[bytes | int | list[bytes]], *, fifo: bool) -> Received:
    entry, count, first, _, listed = words
    assert isinstance(entry, bytes)
    assert isinstance(listed, list)
    fields = dict(zip(listed[::2], listed[1::2], strict=True))
    attributes = fields.get(b"attributes", _NO_ATTRIBUTES)
    body = fields.get(b"body", b"")
    message_id = _text(fields, b"message_id") or entry.decode()
    return Received(
        message_id=message_id,
        receipt_handle=Receipt(stream, entry.decode(), int(count)).handle(),  # type: ignore[arg-type]
        body=body,
        md5_of_body=_text(fields, b"md5_of_body") or md5_of(body),
        attributes={} if attributes == _NO_ATTRIBUTES else _read(attributes),
        sender_id=_text(fields, b"sender_id") or "",
        sent_at_ms=_number(fields.get(b"sent_at_ms"), int(entry.partition(b"-")[0])),
        receive_count=int(count) + _number(fields.get(b"receives"), 0),  # type: ignore[arg-type]
        first_received_at_ms=_number(fields.get(b"first_received_ms"), int(first)),  # type: ignore[arg-type]
        group_id=_text(fields, b"group"),
        deduplication_id=_text(fields, b"deduplication"),
        sequence_number=_sequence(entry) if fifo else None,
        trace_header=_text(fields, b"trace_header"),
        source_arn=_text(fields, b"source_arn"),
    )


def md5_of(body: bytes) -> str:
    """As SQS shows it."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _uuid(random: bytes) -> str:
    """A UUID of 16 bytes, random as a rule, at a third of what uuid.uuid4 costs."""
    digits = random.hex()
    variant = "89ab"[random[8] & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _read(attributes: bytes) -> dict[str, Attribute]:
    """None of what somebody else wrote there and nobody can read: the message is to come all the same."""
    try:
        return _attributes.decode(attributes)
    except msgspec.MsgspecError:
        return {}


def _number(value: bytes | None, otherwise: int) -> int:
    return int(value) if value is not None and value.isdigit() else otherwise


def _text(fields: dict[bytes, bytes], name: bytes) -> str | None:
    value = fields.get(name)
    return None if value is None else value.decode(errors="replace")


def _sequence(entry: bytes) -> str:
    """As parts/fifo.lua has it."""
    ms, _, number = entry.partition(b"-")
    return f"{int(ms):013d}{int(number):07d}"
