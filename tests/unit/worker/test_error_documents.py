from __future__ import annotations

import pytest

from services.worker.environment import error_documents
from services.worker.sandbox.spec import RuntimeExit

ID = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (RuntimeExit(0, None), "Runtime exited without providing a reason"),
        (RuntimeExit(127, None), "Runtime exited with error: exit status 127"),
        (RuntimeExit(None, "segmentation fault"), "Runtime exited with error: signal: segmentation fault"),
        (RuntimeExit(None, "killed", out_of_memory=True), "Runtime exited with error: signal: killed"),
    ],
)
def test_an_exit_is_told_in_the_words_of_aws(end: RuntimeExit, text: str) -> None:
    expected = f'{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {ID} Error: {text}"}}'
    assert error_documents.exited(ID, end) == expected.encode()


def test_only_the_log_says_that_memory_ran_out() -> None:
    end = RuntimeExit(None, "killed", out_of_memory=True)
    assert b"ExitError" in error_documents.exited(ID, end)
    assert error_documents.exit_error_type(end) == "Runtime.OutOfMemory"


def test_a_timeout_names_seconds_with_two_decimals() -> None:
    expected = f'{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {ID} Error: Task timed out after 1.00 seconds"}}'
    assert error_documents.timed_out(ID, 1.0) == expected.encode()


def test_a_response_over_the_limit_has_no_request_id() -> None:
    assert error_documents.response_too_large() == (
        b'{"errorType":"Function.ResponseSizeTooLarge",'
        b'"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}'
    )


@pytest.mark.parametrize(
    ("posted", "reported"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.Custom", "Function.Custom"),
        ("Function.bad\tname", "Function.Unknown"),
        ("Exception", "Runtime.Unknown"),
        ("Runtime.X\nREPORT forged", "Runtime.Unknown"),
        ("", "Runtime.Unknown"),
    ],
)
def test_error_types_in_the_log_are_filtered(posted: str, reported: str) -> None:
    assert error_documents.reportable_type(posted) == reported


@pytest.mark.parametrize("document", [b"", b"[" * 100_000, b"\xff", b"[1]", b'{"errorType":7}', b'{"errorType":'])
def test_a_runtime_may_post_anything_as_its_error(document: bytes) -> None:
    assert error_documents.posted_error_type(document) == ""
