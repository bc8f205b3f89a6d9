"""What travels on the topic of EventBridge's events: one event on its way to one bus, and how functions and queues see it.

On the wire: one version byte, then a MessagePack array. New fields are added at the end with a default.
"""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import msgspec

from shared.domain.arns import Home, home_of
from shared.domain.event_buses import DEFAULT_BUS, SCHEDULED_DETAIL_TYPE, SCHEDULED_SOURCE
from shared.events.records import RECORD_VERSION, RecordError

_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)


class BusEvent(msgspec.Struct, frozen=True, array_like=True):
    """bus_region, bus_account, bus: where it goes. account, region: those of whoever put it first, whichever buses it passed.

    detail: a JSON object without blanks. at_ms: the time that it tells, ingested_at_ms: when it was put; Unix time.
    hops: buses that it has passed. revision: of the bus, as it was known where the event was accepted; 0: unknown.
    rules: ARNs of the rules that alone may take it, any where there are none. replay: the replay that it comes from.
    """

    event_id: str
    bus_account: str
    bus_region: str
    bus: str
    source: str
    detail_type: str
    detail: bytes
    account: str
    region: str
    at_ms: int
    ingested_at_ms: int
    resources: tuple[str, ...] = ()
    hops: int = 0
    revision: int = 0
    rules: tuple[str, ...] = ()
    replay: str | None = None
    trace: str | None = None

    @property
    def home(self) -> Home:
        """Of the bus."""
        return Home(self.bus_account, self.bus_region)


def scheduled_event(rule_arn: str, firing_id: str, due_ms: int, now_ms: int) -> BusEvent:
    """What a rule with a schedule makes when it is due, for its own targets alone. firing_id: the same for the same firing."""
    home = home_of(rule_arn)
    return BusEvent(
        event_id=str(uuid.uuid5(uuid.NAMESPACE_URL, firing_id)),
        bus_account=home.account_id,
        bus_region=home.region,
        bus=DEFAULT_BUS,
        source=SCHEDULED_SOURCE,
        detail_type=SCHEDULED_DETAIL_TYPE,
        detail=b"{}",
        account=home.account_id,
        region=home.region,
        at_ms=due_ms,
        ingested_at_ms=now_ms,
        resources=(rule_arn,),
        rules=(rule_arn,),
    )


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BusEvent)
_encode_json = msgspec.json.Encoder().encode


def encode_bus_event(event: BusEvent) -> bytes:
    return RECORD_VERSION + _encoder.encode(event)


def decode_bus_event(data: bytes) -> BusEvent:
    """Raises RecordError."""
    if data[:1] != RECORD_VERSION:
        raise RecordError(f"record version {data[:1].hex() or 'missing'} is not known")
    try:
        return _decoder.decode(memoryview(data)[1:])
    except msgspec.DecodeError as error:
        raise RecordError(f"not an event of a bus: {error}") from error


def without_blanks(document: bytes) -> bytes:
    """A JSON document as it is written, but for the blanks between its parts: numbers keep their digits."""
    return _SPACE.sub(rb"\1", document)


def told_time(at_ms: int) -> str:
    """As events have it: whole seconds."""
    return datetime.fromtimestamp(at_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def event_json(event: BusEvent) -> bytes:
    """The event as targets get it, members in AWS's order."""
    return _encode_json({**_envelope(event, "detail-type"), "detail": msgspec.Raw(event.detail)})


def envelope_json(event: BusEvent) -> bytes:
    """What templates know as `aws.events.event`: without the detail, and with another name for its type, as AWS has it."""
    return _encode_json(_envelope(event, "detailType"))


def _envelope(event: BusEvent, detail_type: str) -> dict[str, object]:
    members: dict[str, object] = {
        "version": "0",
        "id": event.event_id,
        detail_type: event.detail_type,
        "source": event.source,
        "account": event.account,
        "time": told_time(event.at_ms),
        "region": event.region,
    }
    if event.replay is not None:
        members["replay-name"] = event.replay
    members["resources"] = event.resources
    return members
