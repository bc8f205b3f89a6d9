"""Every invocation has a trace header, with what its caller sent of one."""

from __future__ import annotations

import re

import pytest

from services.worker.environment.trace import TraceHeaders
from shared.domain import lineage

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
WHOLE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=[01];(Self=x;)?Lineage=1:[0-9a-f]{8}:\d+")
NOW_S = 1_700_000_000.5
traces = TraceHeaders(ARN)


def test_a_caller_that_sent_none_gets_a_new_one_each_time_that_begins_a_chain() -> None:
    first, second = (traces.header(None, NOW_S) for _ in range(2))
    assert WHOLE.fullmatch(first)
    assert first.startswith(f"Root=1-{int(NOW_S):08x}-")
    assert first.partition(";Sampled")[0] != second.partition(";Sampled")[0]
    assert lineage.runs(first, ARN) == 1


@pytest.mark.parametrize(
    "given",
    [ROOT, f"{ROOT};Sampled=1", f"Sampled=1;{ROOT}", f"Self=x;{ROOT}", f"{ROOT};Parent=00000000000000aa;Lineage=1:0badcafe:3"],
)
def test_what_a_caller_sent_is_kept_and_the_rest_added(given: str) -> None:
    header = traces.header(given, NOW_S)
    assert WHOLE.fullmatch(header)
    assert set(given.split(";")) <= set(header.split(";"))


def test_a_whole_header_is_passed_on_as_it_is() -> None:
    given = f"{ROOT};Parent=00000000000000aa;Sampled=1;Lineage=1:0badcafe:3"
    assert traces.header(given, NOW_S) is given


@pytest.mark.parametrize("given", ["", ";;", "x" * 5_000])
def test_a_header_that_says_nothing_is_replaced(given: str) -> None:
    assert WHOLE.fullmatch(traces.header(given, NOW_S))
