from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from services.frontend.edge.bodies import BodyReader, ClientGoneError
from services.frontend.edge.request_ids import BATCH, RequestIds
from services.frontend.invoke.json_check import require_json
from services.frontend.invoke.metrics import InvokeMetrics
from services.frontend.invoke.request import is_invoke
from shared.domain.errors import InvalidRequestContentException, RequestTooLargeException, TooManyRequestsException


def test_request_ids_are_version_4_uuids_and_never_repeat() -> None:
    ids = RequestIds()
    made = [ids() for _ in range(BATCH * 3 + 1)]
    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
    assert all(pattern.fullmatch(one) for one in made)
    assert len(set(made)) == len(made)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s))
)
def test_all_json_passes(value: Any) -> None:
    require_json(msgspec.json.encode(value))


@given(st.binary(max_size=60))
def test_any_bytes_pass_or_are_named_as_not_json(payload: bytes) -> None:
    try:
        require_json(payload)
    except InvalidRequestContentException:
        return
    msgspec.json.decode(payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            b"value",
            "Unrecognized token 'value': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')",
        ),
        (b'{"a":\n nope}', "line: 2, column: 6]"),
        (b"[1,", "Unexpected end-of-input"),
    ],
)
def test_the_place_of_the_error_is_told(payload: bytes, text: str) -> None:
    with pytest.raises(InvalidRequestContentException) as raised:
        require_json(payload)
    assert text in raised.value.message


def test_only_invoke_paths_are_invokes() -> None:
    assert is_invoke("POST", b"/2015-03-31/functions/f/invocations")
    assert is_invoke("POST", b"/2015-03-31/functions/f/invocations/")
    assert is_invoke("POST", b"/2014-11-13/functions/f/invoke-async/")
    assert not is_invoke("GET", b"/2015-03-31/functions/f/invocations")
    assert not is_invoke("POST", b"/2015-03-31/functions/invocations")
    assert not is_invoke("POST", b"/2015-03-31/functions/f/x/invocations")


def receiving(*messages: dict[str, Any]) -> Any:
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return receive


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_bodies_are_joined_and_bounded() -> None:
    reader = BodyReader()
    receive = receiving(part(b"a", more=True), part(b"b", more=False))
    assert await reader.read(receive, None, 2, lambda size: RequestTooLargeException(str(size))) == b"ab"
    for declared in (3, None):
        receive = receiving(part(b"ab", more=True), part(b"c", more=False))
        with pytest.raises(RequestTooLargeException, match="3"):
            await reader.read(receive, declared, 2, lambda size: RequestTooLargeException(str(size)))


async def test_room_for_large_bodies_is_given_back_whatever_happens() -> None:
    reader = BodyReader(bytes_max=200_000)

    def too_large(size: int) -> RequestTooLargeException:
        return RequestTooLargeException(str(size))

    for _ in range(5):
        with pytest.raises(ClientGoneError):
            await reader.read(receiving(part(b"a", more=True), {"type": "http.disconnect"}), 150_000, 200_000, too_large)
    with pytest.raises(TooManyRequestsException):
        await reader.read(receiving(part(b"a", more=True)), 250_000, 300_000, too_large)


def test_metrics_are_what_was_counted() -> None:
    metrics, registry = InvokeMetrics(), CollectorRegistry()
    registry.register(metrics)
    metrics.count("ok")
    metrics.observe(0.0015)
    metrics.observe(1_000.0)
    text = generate_latest(registry).decode()
    assert 'lambdad_frontend_invocations_total{outcome="ok"} 1.0' in text
    assert 'lambdad_frontend_invoke_seconds_bucket{le="0.002"} 1.0' in text
    assert "lambdad_frontend_invoke_seconds_count 2.0" in text
