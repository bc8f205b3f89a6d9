from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from services.worker.environment.verdicts import billed_ms
from services.worker.telemetry.events import (
    ON_DEMAND,
    PROVISIONED,
    InitReport,
    InitStart,
    Phase,
    PlatformEvent,
    Report,
    Start,
    Status,
)
from services.worker.telemetry.platform_lines import makers_for
from shared.domain.functions import VersionSpec
from tests.unit.worker.specs import version


def renderer_for(spec: VersionSpec, initialization_type: str = ON_DEMAND) -> Callable[[PlatformEvent], bytes]:
    makers = makers_for(spec, initialization_type)
    return lambda event: makers[type(event)](event)


ID = "11111111-2222-4333-8444-555555555555"


def report(**changes: object) -> Report:
    values: dict[str, object] = {
        "request_id": ID,
        "duration_ms": 3.009,
        "billed_ms": 4,
        "memory_mb": 128,
        "max_memory_mb": 36,
    }
    return Report(**(values | changes))  # type: ignore[arg-type]


def test_the_text_lines_are_those_of_aws() -> None:
    render = renderer_for(version())
    assert render(Start(ID)) == f"START RequestId: {ID} Version: $LATEST\n".encode()
    warm = f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t"
    assert render(report()).decode() == f"END RequestId: {ID}\n{warm}\n"
    assert render(report(init_ms=110.1)).decode() == f"END RequestId: {ID}\n{warm}Init Duration: 110.10 ms\t\n"


@pytest.mark.parametrize(
    ("status", "error_type", "suffix"),
    [
        (Status.TIMEOUT, None, "Status: timeout"),
        (Status.FAILURE, "Runtime.ExitError", "Status: error\tError Type: Runtime.ExitError"),
        (Status.ERROR, "Runtime.Unknown", "Status: error\tError Type: Runtime.Unknown"),
    ],
)
def test_a_failure_is_named_at_the_end_of_the_report(status: Status, error_type: str | None, suffix: str) -> None:
    text = renderer_for(version())(report(status=status, error_type=error_type)).decode()
    assert text.endswith(f"Max Memory Used: 36 MB\t{suffix}\n")


def test_init_start_names_the_runtime() -> None:
    pattern = (
        rb"INIT_START Runtime Version: python:3\.12\.v1\tRuntime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}\n"
    )
    assert re.fullmatch(pattern, renderer_for(version())(InitStart()))


def test_only_a_failed_initialisation_has_an_init_report_in_text() -> None:
    render = renderer_for(version())
    assert render(InitReport(Phase.INIT, Status.SUCCESS, 12.0, None)) == b""
    assert render(InitReport(Phase.INIT, Status.TIMEOUT, 1236.04, None)) == (
        b"INIT_REPORT Init Duration: 1236.04 ms\tPhase: init\tStatus: timeout\n"
    )
    assert render(InitReport(Phase.INVOKE, Status.ERROR, 5.0, "Runtime.ImportModuleError")) == (
        b"INIT_REPORT Init Duration: 5.00 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n"
    )


def test_the_json_report_has_the_keys_of_aws_and_there_is_no_end_line() -> None:
    render = renderer_for(version(log_format="JSON"))
    start = json.loads(render(Start(ID)))
    assert start["type"] == "platform.start"
    assert start["record"] == {"requestId": ID, "version": "$LATEST"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", start["time"])
    (line,) = render(report(init_ms=110.1)).splitlines()
    final = json.loads(line)
    assert final["type"] == "platform.report"
    metrics = {"durationMs": 3.009, "billedDurationMs": 4, "memorySizeMB": 128, "maxMemoryUsedMB": 36, "initDurationMs": 110.1}
    assert final["record"] == {"requestId": ID, "metrics": metrics, "status": "success"}


def test_the_system_log_level_chooses_the_json_records() -> None:
    quiet = renderer_for(version(log_format="JSON", system_log_level="WARN"))
    assert (quiet(Start(ID)), quiet(InitStart()), quiet(report())) == (b"", b"", b"")
    assert b"platform.report" in quiet(report(status=Status.TIMEOUT))
    chatty = renderer_for(version(log_format="JSON", system_log_level="DEBUG"))
    kinds = [json.loads(line)["type"] for line in chatty(report()).splitlines()]
    assert kinds == ["platform.runtimeDone", "platform.report"]


def test_billing_rounds_up_and_includes_initialisation() -> None:
    assert billed_ms(1233.96, 463.51) == 1698
    assert billed_ms(3.01, None) == 4
    assert billed_ms(1000.0, None) == 1000
    assert billed_ms(0.001, None) == 1


def test_an_initialisation_ahead_says_so_and_is_reported_even_when_it_succeeds() -> None:
    text = renderer_for(version(), PROVISIONED)
    assert (
        text(InitReport(Phase.INIT, Status.SUCCESS, 12.5, None))
        == b"INIT_REPORT Init Duration: 12.50 ms\tPhase: init\tStatus: success\n"
    )
    assert renderer_for(version())(InitReport(Phase.INIT, Status.SUCCESS, 12.5, None)) == b""
    record = json.loads(renderer_for(version(log_format="JSON"), PROVISIONED)(InitStart()))["record"]
    assert record["initializationType"] == "provisioned-concurrency"
