"""EventBridge: patterns as entries of their own, archives and replays whose ends are waited for."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

from services.frontend.apis.events.operations import OPERATIONS
from tests.conformance.facts import Fact
from tests.conformance.runner import Run
from tests.conformance.services.eventbridge.given import DETAIL, GIVEN
from tests.conformance.services.service import ACCOUNT, REGION, Service, unique
from tests.conformance.steps import Step
from tests.conformance.wire import Answer

EVENTS = f"arn:aws:events:{REGION}:{ACCOUNT}"
HOUR_S = 3_600
OF_THE_ACCOUNT = {"list-archives.by-state", "remove-permission.no-policy"}
"""Whose answer depends on everything that the account has."""
ON_DEFAULT = (
    "create-archive.full", "update-archive.all", "delete-archive.plain", "start-replay.", "list-replays.", "describe-replay.",
    "cancel-replay.",
)  # fmt: skip
ELSEWHERE = {"start-replay.bus-missing", "start-replay.other-bus", "start-replay.end-before-start"}
"""Whose bus is another one than their archive's."""


class EventBridge(Service):
    name, title, botocore, protocols = "eventbridge", "EventBridge", "events", ("json",)
    forms: Mapping[str, str | None] = {"date-s": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "six-chars": r"[A-Za-z0-9]{6}"}

    def operations(self) -> Set[str]:
        return OPERATIONS.keys()

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        prefix = unique("p")
        names = {name: unique(name) for name in ("rule", "archive", "replay", "connection", "destination")}
        # In the order of names, in which they are listed.
        names |= {
            "target": f"{prefix}-target-1",
            "target:2": f"{prefix}-target-2",
            **{f"sid:{number}": unique("sid") for number in range(1, 6)},
        }
        bus = f"{prefix}-bus"
        own_bus = fact.id in ELSEWHERE or not fact.id.startswith(ON_DEFAULT)
        text = json.dumps({"payload": ["p" * 262_127]}) if fact.id == "put-events.too-big" else json.dumps(DETAIL)
        printed = f"time=null, source={_SOURCE}, resources=null, detailType={_SOURCE}, detail={text}, eventBusName={bus}"
        return {
            **names,
            "sid": unique("sid"),
            "p": prefix,
            "prefix": prefix,
            "bus": bus if own_bus else "default",
            "bus-arn": f"{EVENTS}:event-bus/{bus if own_bus else 'default'}",
            "default-bus-arn": f"{EVENTS}:event-bus/default",
            "arn": f"{EVENTS}:event-bus/{bus}",
            "rule-arn": f"{EVENTS}:rule/{names['rule']}",
            "custom-rule-arn": f"{EVENTS}:rule/{bus}/{names['rule']}",
            "archive-arn": f"{EVENTS}:archive/{names['archive']}",
            "replay-arn": f"{EVENTS}:replay/{names['replay']}",
            "queue-arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{unique('q')}",
            "account:2": "123456789012",
            "date-s": "2024-01-01T00:00:00Z",
            "begin": int(time.time()) - HOUR_S,
            "end": int(time.time()) + HOUR_S,
            "detail": text,
            "entry": f"PutEventsRequestEntry({printed}, traceHeader=null, kmsKeyIdentifier=null, internalMetadata=null)",
        }

    def steps(self, fact: Fact) -> Sequence[Step]:
        given = GIVEN.get(fact.id, ())
        return given() if callable(given) else given

    def begin(self, run: Run) -> None:
        if run.fact.id in OF_THE_ACCOUNT:
            run.plane.empty_account()

    def request(self, fact: Fact) -> dict[str, Any]:
        if "pattern" in fact.raw:
            return {"EventPattern": _sent(fact.raw["pattern"]), "Event": _sent(fact.raw["event"])}
        if fact.id == "test-event-pattern.large-event":
            return {**fact.request, "Event": _sent(_large_event())}
        if fact.call == "TestEventPattern" and "Event" not in fact.request:
            return {**fact.request, "Event": _sent(_event({}))}
        if fact.id == "put-events.eleven-entries":
            entry = {"Source": _SOURCE, "DetailType": _SOURCE, "Detail": "<detail>", "EventBusName": "<bus>"}
            return {"Entries": [entry] * 11}
        if fact.id == "start-replay.end-before-start":
            now = int(time.time())
            return {**fact.request, "EventStartTime": now, "EventEndTime": now - 10}
        if fact.call == "StartReplay":
            return {**fact.request, "EventStartTime": "<begin>", "EventEndTime": "<end>"}
        return fact.request

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        # Whether no members are an empty body or an empty object was not recorded.
        return {} if answer.raw == b"" else super().found(run, request, answer)

    def more(self, run: Run, request: dict[str, Any], answer: Answer) -> list[str]:
        wanted = run.fact.raw.get("matches")
        if wanted is not None and answer.body != {"Result": wanted}:
            return [f"{answer.body} instead of Result {wanted}"]
        return []


_SOURCE = "core.update-account-command"


def _sent(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _event(detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "account": ACCOUNT,
        "source": "test",
        "time": "2024-01-01T00:00:00Z",
        "region": REGION,
        "detail-type": "test",
        "detail": detail,
    }


def _large_event() -> dict[str, Any]:
    """About 23 KB, as the entry describes it."""
    deep = [{"text": "x" * 3_500, "number": number} for number in range(6)]
    deep[0]["inside-list"] = "q-test-value"
    return _event({"payload": {"nested": {"another-level": {"deep": deep}}}})
