"""The longest Timeout is AWS's 900 s until the operator allows up to 1,800; the texts are AWS's. By boto3, over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from shared.settings import Settings
from tests.integration.frontend.test_service import client_of, listed, serving, settings_of
from tests.support import PYTHON, ROLE, wait_until, zip_of


@pytest.mark.parametrize(
    ("section", "most", "refused"),
    [({}, 900, (901, 1_800, 5_401)), ({"functions": {"timeout_s_max": 1_800}}, 1_800, (1_801, 6_000))],
)
async def test_the_longest_timeout_is_the_operators_choice(
    postgres_engine: str, redis_engine: str, tmp_path: Path, section: Any, most: int, refused: tuple[int, ...]
) -> None:
    settings = settings_of(tmp_path, database_url=postgres_engine, redis_url=redis_engine, **section)
    async with serving(settings) as url:
        await asyncio.to_thread(wait_until, lambda: listed(client_of(url)), what="the API")
        await asyncio.to_thread(use, client_of(url), most, refused)


def use(client: Any, most: int, refused: tuple[int, ...]) -> None:
    name = f"f-{uuid.uuid4().hex[:10]}"

    def create(timeout_s: int) -> Any:
        package = zip_of({"app.py": "def handler(event, context): return event\n"})
        return client.create_function(
            FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": package}, Timeout=timeout_s
        )

    def update(timeout_s: int) -> Any:
        return client.update_function_configuration(FunctionName=name, Timeout=timeout_s)

    def assert_refused(call: Any, timeout_s: int) -> None:
        with pytest.raises(ClientError) as raised:
            call(timeout_s)
        answer = raised.value.response
        assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]) == (400, "ValidationException")
        assert answer["Error"]["Message"] == (
            f"1 validation error detected: Value '{timeout_s}' at 'timeout' failed to satisfy constraint: "
            f"Member must have value less than or equal to {most}"
        )

    for timeout_s in refused:
        assert_refused(create, timeout_s)
    assert create(most)["Timeout"] == most
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    for timeout_s in refused:
        assert_refused(update, timeout_s)
    assert client.get_function_configuration(FunctionName=name)["Timeout"] == most
    client.delete_function(FunctionName=name)


def test_the_setting_is_bounded_by_what_aws_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().functions.timeout_s_max == 900
    monkeypatch.setenv("LAMBDAD_FUNCTIONS__TIMEOUT_S_MAX", "1800")
    assert Settings().functions.timeout_s_max == 1_800
    for wrong in ("0", "1801"):
        monkeypatch.setenv("LAMBDAD_FUNCTIONS__TIMEOUT_S_MAX", wrong)
        with pytest.raises(ValueError, match="timeout_s_max"):
            Settings()
