"""A batch is run until it is done with, under the mapping's limits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from services.poller.mapping import delivery as module
from services.poller.mapping.delivery import BatchDelivery
from services.poller.mapping.on_failure import OnFailure
from services.poller.sources.kafka.format import KafkaFormat
from services.poller.sources.kafka.source import KafkaSource
from shared.domain.errors import NoCapacityError, ResponseLostError, TooManyRequestsException
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.mappings import ErrorHandling, EventSourceMapping, MappingState, SourceKind
from shared.events.records import Condition, Outcome
from tests.support import PATIENCE_S

MSK = "arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/1"
OK = InvocationResult(b"null", "$LATEST")
FAILED = InvocationResult(b"{}", "$LATEST", function_error="Unhandled")

Answer = Callable[[list[int]], InvocationResult]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_BACKOFF_S", (0.001,))
    monkeypatch.setattr(module, "REFUSED_BACKOFF_S", (0.001,))


def mapping(
    handling: ErrorHandling = ErrorHandling(), *, on_failure: str | None = None, source_arn: str | None = MSK
) -> EventSourceMapping:
    return EventSourceMapping(
        uuid="u",
        region="us-east-1",
        kind=SourceKind.MSK if source_arn else SourceKind.SELF_MANAGED_KAFKA,
        function_name="f",
        qualifier=None,
        function_arn="arn:aws:lambda:us-east-1:000000000000:function:f",
        source_arn=source_arn,
        bootstrap_servers=("b-1:9092", "b-2:9092"),
        topics=("t",),
        consumer_group_id="g",
        starting_position="TRIM_HORIZON",
        starting_timestamp_ms=None,
        batch_size=100,
        batching_window_s=0.0,
        filters=(),
        on_failure_arn=on_failure,
        error_handling=handling,
        enabled=True,
        state=MappingState.ENABLED,
        state_reason="",
        last_processing_result="",
        last_modified_ms=0,
        revision=1,
    )


def record(offset: int, value: bytes | None = b"v", **more: Any) -> Any:
    fields = {"topic": "t", "partition": 0, "offset": offset, "timestamp": time.time_ns() // 1_000_000, "timestamp_type": 0}
    return SimpleNamespace(**{**fields, "key": None, "value": value, "headers": (), **more})


class Function:
    """Answers batches; remembers the offsets of each."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.batches: list[list[int]] = []
        self.ids: list[str] = []

    async def invoke(self, name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float) -> InvocationResult:
        offsets = [r["offset"] for records in json.loads(invocation.payload)["records"].values() for r in records]
        self.batches.append(offsets)
        self.ids.append(invocation.request_id)
        return self.answer(offsets)


async def deliver(
    answer: Answer, records: list[Any], handling: ErrorHandling = ErrorHandling(), **options: Any
) -> tuple[Function, list[Outcome], list[str]]:
    function, outcomes, results = Function(answer), [], []

    async def give_up(outcome: Outcome) -> None:
        outcomes.append(outcome)

    chosen = mapping(handling, **options)
    shape = KafkaFormat(chosen, "b-1:9092,b-2:9092")
    delivery = BatchDelivery(
        chosen, KafkaSource.traits, shape, function, OnFailure(chosen, shape, give_up), on_result=results.append
    )
    async with asyncio.timeout(PATIENCE_S):
        assert await delivery.deliver("t-0", records) == []
    return function, outcomes, results


def failing(times: int, error: Exception | None = None) -> Answer:
    left = iter(range(times))

    def answer(_: list[int]) -> InvocationResult:
        if next(left, None) is None:
            return OK
        if error is not None:
            raise error
        return FAILED

    return answer


async def test_a_failed_batch_is_tried_until_it_succeeds() -> None:
    function, outcomes, results = await deliver(failing(20), [record(1), record(2)])
    assert function.batches == [[1, 2]] * 21
    assert outcomes == []
    assert results[0] == "PROBLEM: Function call failed"
    assert results[-1] == "OK"
    assert len(set(function.ids)) == 21


async def test_a_run_whose_response_was_lost_is_an_attempt() -> None:
    def lost(offsets: list[int]) -> InvocationResult:
        raise ResponseLostError("half of it")

    function, [outcome], _ = await deliver(
        lost, [record(5)], ErrorHandling(retry_attempts_max=2), on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert len(function.batches) == 3
    assert outcome.condition is Condition.RETRY_ATTEMPTS_EXHAUSTED
    assert outcome.last is not None
    assert b"response was lost" in outcome.last.payload


async def test_retries_end_at_the_mappings_limit_and_the_destination_is_told() -> None:
    function, [outcome], _ = await deliver(
        failing(99), [record(5), record(9)], ErrorHandling(retry_attempts_max=2), on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert len(function.batches) == 3
    assert outcome.condition is Condition.RETRY_ATTEMPTS_EXHAUSTED
    assert outcome.attempts == 3
    assert outcome.targets == ("arn:aws:sqs:us-east-1:0:q",)
    assert outcome.batch is not None
    assert outcome.batch.batch_size == 2
    assert (outcome.batch.partitions["t-0"].first_offset, outcome.batch.partitions["t-0"].last_offset) == (5, 9)


async def test_endless_retries_are_ten_where_a_destination_waits() -> None:
    function, [outcome], _ = await deliver(failing(99), [record(1)], on_failure="arn:aws:sqs:us-east-1:0:q")
    assert (len(function.batches), outcome.attempts) == (11, 11)


async def test_without_a_destination_given_up_records_are_discarded() -> None:
    _, outcomes, _ = await deliver(failing(99), [record(1)], ErrorHandling(retry_attempts_max=0))
    assert outcomes == []


@pytest.mark.parametrize("error", [TooManyRequestsException("X"), NoCapacityError("none"), RuntimeError("a fault")])
async def test_what_could_not_run_uses_no_attempts(error: Exception) -> None:
    function, outcomes, _ = await deliver(failing(7, error), [record(1)], ErrorHandling(retry_attempts_max=0))
    assert (len(function.batches), outcomes) == (8, [])


async def test_records_that_are_too_old_leave_unseen_and_the_rest_is_tried() -> None:
    records = [record(1), record(2, timestamp=1_000), record(3), record(4, timestamp=2_000)]
    function, [outcome], _ = await deliver(
        failing(1), records, ErrorHandling(record_age_s_max=60), on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert function.batches == [[1, 3], [1, 3]]
    assert (outcome.condition, outcome.attempts, outcome.last) == (Condition.RECORD_AGE_EXCEEDED, 1, None)
    assert outcome.batch is not None
    assert (outcome.batch.batch_size, outcome.batch.partitions["t-0"].first_offset) == (2, 2)
    assert [r["offset"] for r in json.loads(outcome.request_payload)["records"]["t-0"]] == [2, 4]


async def test_a_record_without_a_timestamp_has_no_age() -> None:
    function, _, _ = await deliver(failing(0), [record(1, timestamp=-1)], ErrorHandling(record_age_s_max=60))
    assert function.batches == [[1]]


async def test_a_record_that_grows_too_old_while_it_is_tried_leaves_then() -> None:
    young = record(1, timestamp=time.time_ns() // 1_000_000 - 59_800)
    function, [outcome], _ = await deliver(
        failing(9_999), [young], ErrorHandling(10_000, 60), on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert outcome.condition is Condition.RECORD_AGE_EXCEEDED
    assert outcome.attempts == len(function.batches) > 1


async def test_endless_retries_with_an_age_end_with_it_even_without_a_destination() -> None:
    young = record(1, timestamp=time.time_ns() // 1_000_000 - 59_900)
    function, outcomes, _ = await deliver(failing(9_999), [young], ErrorHandling(record_age_s_max=60))
    assert len(function.batches) > 1
    assert outcomes == []


async def test_a_poison_record_is_found_by_halving() -> None:
    def poison(offsets: list[int]) -> InvocationResult:
        return FAILED if 6 in offsets else OK

    limits = ErrorHandling(retry_attempts_max=1, bisect_on_error=True)
    function, [outcome], _ = await deliver(
        poison, [record(n) for n in range(8)], limits, on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert outcome.batch is not None
    assert outcome.batch.partitions["t-0"].first_offset == outcome.batch.partitions["t-0"].last_offset == 6
    succeeded = [offsets for offsets in function.batches if 6 not in offsets]
    assert sorted(offset for offsets in succeeded for offset in offsets) == [0, 1, 2, 3, 4, 5, 7]


async def test_a_split_uses_no_retry() -> None:
    def poison(offsets: list[int]) -> InvocationResult:
        return FAILED if 1 in offsets else OK

    handling = ErrorHandling(retry_attempts_max=0, bisect_on_error=True)
    function, [outcome], _ = await deliver(
        poison, [record(n) for n in (1, 2)], handling, on_failure="arn:aws:sqs:us-east-1:0:q"
    )
    assert function.batches == [[1, 2], [1], [2]]
    assert outcome.attempts == 1


async def test_only_reported_records_are_tried_again() -> None:
    answers = iter([[2, 3], [3], []])

    def partial(_: list[int]) -> InvocationResult:
        items = [{"itemIdentifier": {"partition": "t-0", "offset": offset}} for offset in next(answers)]
        return InvocationResult(json.dumps({"batchItemFailures": items}).encode(), "$LATEST")

    limits = ErrorHandling(report_batch_item_failures=True)
    function, _, _ = await deliver(partial, [record(n) for n in (1, 2, 3)], limits)
    assert function.batches == [[1, 2, 3], [2, 3], [3]]


async def test_what_a_report_leaves_has_attempts_of_its_own() -> None:
    """As recorded for streams: with three retries the record that keeps failing is delivered five times, and four are told."""

    def last_fails(offsets: list[int]) -> InvocationResult:
        items = [{"itemIdentifier": {"partition": "t-0", "offset": 3}}] if 3 in offsets else []
        return InvocationResult(json.dumps({"batchItemFailures": items}).encode(), "$LATEST")

    handling = ErrorHandling(retry_attempts_max=3, report_batch_item_failures=True)
    records = [record(n) for n in (1, 2, 3)]
    function, [outcome], _ = await deliver(last_fails, records, handling, on_failure="arn:aws:sqs:us-east-1:0:q")
    assert function.batches == [[1, 2, 3], [3], [3], [3], [3]]
    assert (outcome.attempts, outcome.condition) == (4, Condition.RETRY_ATTEMPTS_EXHAUSTED)
    assert outcome.last is not None
    assert outcome.last.function_error is None


async def test_a_report_counts_only_where_the_mapping_asks_for_it() -> None:
    report = InvocationResult(b'{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 1}}]}', "$LATEST")
    function, _, results = await deliver(lambda _: report, [record(1)])
    assert (function.batches, results) == ([[1]], ["OK"])


@pytest.mark.parametrize(
    "response",
    [b'{"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 77}}]}',
     b'{"batchItemFailures": [{"itemIdentifier": {"partition": "u-1", "offset": 1}}]}',
     b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'],
)  # fmt: skip
async def test_a_report_about_unknown_records_retries_the_whole_batch(response: bytes) -> None:
    answers = iter([InvocationResult(response, "$LATEST"), OK])
    function, _, _ = await deliver(
        lambda _: next(answers), [record(1), record(2)], ErrorHandling(report_batch_item_failures=True)
    )
    assert function.batches == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    "response", [b"", b"null", b"{}", b"[]", b'""', b'{"batchItemFailures": []}', b'{"batchItemFailures": null}']
)
async def test_an_empty_report_is_success(response: bytes) -> None:
    limits = ErrorHandling(report_batch_item_failures=True)
    function, _, _ = await deliver(lambda _: InvocationResult(response, "$LATEST"), [record(1)], limits)
    assert len(function.batches) == 1


async def test_a_record_that_cannot_fit_is_given_up_without_a_call() -> None:
    function, [outcome], _ = await deliver(failing(0), [record(1, b"x" * 5_000_000)], on_failure="arn:aws:sqs:us-east-1:0:q")
    assert function.batches == []
    assert outcome.condition is Condition.PAYLOAD_TOO_LARGE


def test_the_event_of_a_managed_cluster_is_shaped_as_awss() -> None:
    headers = (("headerKey", b"headerValue"), ("accented", "ë".encode()), ("empty", None))
    full = record(15, b"Hello, this is a test.", key=b"k", timestamp=1545084650987, headers=headers)
    event = json.loads(KafkaFormat(mapping(), "b-2:9092,b-1:9092").event("t-0", [full, record(16, None)]))
    assert event["records"]["t-0"].pop(1).keys() == {"topic", "partition", "offset", "timestamp", "timestampType", "headers"}
    assert event == {
        "eventSource": "aws:kafka",
        "eventSourceArn": MSK,
        "bootstrapServers": "b-2:9092,b-1:9092",
        "records": {
            "t-0": [
                {
                    "topic": "t",
                    "partition": 0,
                    "offset": 15,
                    "timestamp": 1545084650987,
                    "timestampType": "CREATE_TIME",
                    "key": "aw==",
                    "value": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                    "headers": [
                        {"headerKey": [104, 101, 97, 100, 101, 114, 86, 97, 108, 117, 101]},
                        {"accented": [-61, -85]},
                        {"empty": []},
                    ],
                }
            ]
        },
    }


def test_the_event_of_a_self_managed_cluster_has_no_arn() -> None:
    event = json.loads(KafkaFormat(mapping(source_arn=None), "x:9092").event("t-0", [record(1)]))
    assert event["eventSource"] == "SelfManagedKafka"
    assert "eventSourceArn" not in event


def test_the_size_bound_of_a_record_is_never_too_small() -> None:
    shape = KafkaFormat(mapping(), "x:9092")
    base = len(shape.event("t-0", []))
    for odd in (
        record(2**62, b"", key=b"", timestamp=2**62),
        record(1, bytes(range(256)) * 3, key=b"\xff" * 100, headers=(("näme", b"\xff" * 50), ("e", b""))),
        record(1, None, topic="t" * 249),
    ):
        assert len(shape.event("t-0", [odd])) - base <= shape.size_bytes(odd)
