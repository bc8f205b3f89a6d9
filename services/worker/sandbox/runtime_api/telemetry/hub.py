"""The telemetry of one environment: what happens there, told to its subscribers and kept for those that may still subscribe."""

from __future__ import annotations

import time
from collections import deque
from datetime import UTC, datetime

import msgspec

from services.worker.sandbox.runtime_api.telemetry.lines import LineCutter
from services.worker.sandbox.runtime_api.telemetry.receiver import NewSocket, Receiver
from services.worker.sandbox.runtime_api.telemetry.schemas import LogsSchema, TelemetrySchema
from services.worker.sandbox.runtime_api.telemetry.subscriber import Subscriber
from services.worker.sandbox.runtime_api.telemetry.subscription import Api, Subscription
from services.worker.sandbox.work_budget import WorkBudget
from services.worker.telemetry.events import (
    ExtensionOutput,
    FunctionOutput,
    InitStart,
    LogsDropped,
    Phase,
    TelemetryEvent,
    TelemetrySubscription,
)
from services.worker.telemetry.platform_lines import timestamp
from services.worker.telemetry.platform_records import PlatformRecords
from shared.domain.functions import VersionSpec

KEPT_BYTES_MAX, KEPT_EVENTS_MAX = 256 * 1024, 1_000
"""Of what happens before anybody subscribed: the oldest output goes first."""
Moment = tuple[float, TelemetryEvent]


class TelemetryHub:
    """`on_event` subscribes to the environment's events. open: extensions initialise, and may subscribe."""

    def __init__(self, version: VersionSpec, initialization_type: str, new_socket: NewSocket, budget: WorkBudget) -> None:
        self._records = PlatformRecords(version, initialization_type)
        self._logs_json = version.log_format == "JSON"
        self._new_socket = new_socket
        self._budget = budget
        self.open = True
        self._kept: deque[Moment] = deque([(time.time(), InitStart())])
        self._kept_bytes = 0
        self._subscribers: dict[str, _Told] = {}

    def subscribe(self, name: str, subscription: Subscription) -> TelemetrySubscription:
        """The last one of an extension counts. It is told of what has happened so far, too."""
        before = self._subscribers.pop(name, None)
        if before is not None:
            before.close()
        told = _Told(name, subscription, self._records, self._logs_json, self._new_socket, self._budget)
        self._subscribers[name] = told
        for at, event in self._kept:
            told.tell(at, event)
        return TelemetrySubscription(name, subscription.types, subscription.api.name)

    def on_event(self, event: TelemetryEvent) -> None:
        at = time.time()
        for told in self._subscribers.values():
            told.tell(at, event)
        if self.open:
            self._keep(at, event)

    def close_subscriptions(self) -> None:
        """Nobody subscribes any more."""
        self.open = False
        self._kept.clear()
        self._kept_bytes = 0

    def restarted(self) -> None:
        """Every process was ended; those that start anew may subscribe, and be told of what has happened since."""
        self._end_subscribers()

    def reopen(self) -> None:
        """What happens is kept for those that will subscribe."""
        self.open = True

    def begin_again(self) -> None:
        """Extensions and runtime initialise inside an invocation."""
        self.reopen()
        self._keep(time.time(), InitStart(Phase.INVOKE))

    def flush(self) -> None:
        for told in self._subscribers.values():
            told.flush()

    def set_frozen(self, frozen: bool) -> None:
        for told in self._subscribers.values():
            told.set_frozen(frozen)

    def close(self) -> None:
        self._end_subscribers()
        self.close_subscriptions()

    def _end_subscribers(self) -> None:
        subscribers, self._subscribers = self._subscribers, {}
        for told in subscribers.values():
            told.close()

    def _keep(self, at: float, event: TelemetryEvent) -> None:
        self._kept.append((at, event))
        self._kept_bytes += _size(event)
        while len(self._kept) > KEPT_EVENTS_MAX or self._kept_bytes > KEPT_BYTES_MAX:
            self._kept_bytes -= _size(self._kept.popleft()[1])


def _size(event: TelemetryEvent) -> int:
    return len(event.data) if isinstance(event, FunctionOutput | ExtensionOutput) else 0


class _Told:
    """One subscriber, and how events read for it."""

    def __init__(
        self,
        name: str,
        subscription: Subscription,
        records: PlatformRecords,
        logs_json: bool,
        new_socket: NewSocket,
        budget: WorkBudget,
    ) -> None:
        self._types = subscription.types
        self._as_objects = logs_json and subscription.has_json_records
        self._schema: TelemetrySchema | LogsSchema
        if subscription.api is Api.LOGS:
            self._schema = LogsSchema(records, with_runtime_done=subscription.schema_version != "2020-08-15")
        else:
            self._schema = TelemetrySchema(records)
        self._lines = {"function": LineCutter(), "extension": LineCutter()}
        receiver = Receiver(subscription, new_socket)
        self._subscriber = Subscriber(name, subscription, receiver, budget, self._dropped)

    def tell(self, at: float, event: TelemetryEvent) -> None:
        if isinstance(event, FunctionOutput | ExtensionOutput):
            kind = "function" if isinstance(event, FunctionOutput) else "extension"
            if kind in self._types:
                for line in self._lines[kind].feed(event.data, whole=event.whole):
                    self._subscriber.add(_item(at, kind, self._record_of(line)))
        elif "platform" in self._types:
            for name, record in self._schema.of(event):
                self._subscriber.add(_item(at, name, record))

    def flush(self) -> None:
        at = time.time()
        for kind, lines in self._lines.items():
            for line in lines.flush():
                self._subscriber.add(_item(at, kind, self._record_of(line)))
        self._subscriber.flush()

    def set_frozen(self, frozen: bool) -> None:
        if frozen:
            self._subscriber.pause()
        else:
            self._subscriber.resume()

    def close(self) -> None:
        self._subscriber.close()

    def _record_of(self, line: str) -> object:
        if self._as_objects and line.startswith("{"):
            try:
                return msgspec.json.decode(line, type=dict[str, object])
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
                pass
        return line

    def _dropped(self, size_bytes: int, records: int, why: str) -> bytes:
        ((name, record),) = self._schema.of(LogsDropped(size_bytes, records, why))
        return _item(time.time(), name, record)


def _item(at: float, kind: str, record: object) -> bytes:
    time_text = timestamp(datetime.fromtimestamp(at, UTC))
    return msgspec.json.encode({"time": time_text, "type": kind, "record": record})
