"""Functions that no worker of the cluster could run are refused when they are made, and told what to do."""

from __future__ import annotations

from typing import Any

import pytest

from shared.dispatch.cell.worker_record import Capabilities
from shared.domain.errors import InvalidParameterValueException
from tests.integration.registry.support import ZIP, Control, function_request


class Workers:
    def __init__(self, *known: Capabilities) -> None:
        self.known = list(known)

    async def capabilities(self) -> list[Capabilities]:
        return self.known


def with_workers(control: Control, *known: Capabilities) -> Control:
    control.context.workers = Workers(*known)
    return control


INTEL = Capabilities("x86_64", ("python3.12", "provided.al2023"))
ARM = Capabilities("arm64", ("python3.13", "provided.al2023"))


async def refusal(control: Control, operation: str, **request: Any) -> str:
    with pytest.raises(InvalidParameterValueException) as refused:
        await control(operation, **request)
    return refused.value.message


@pytest.mark.parametrize(
    ("runtime", "told"),
    [
        ("python3.13", "lambdad runtimes install python3.13"),
        ("nodejs22.x", "lambdad runtimes install nodejs22.x"),
        ("nodejs16.x", "`node` of version 16"),
        ("java21", "choose a provided runtime"),
        ("dotnet8", "choose a provided runtime"),
        ("ruby3.4", "lambdad runtimes install ruby3.4"),
    ],
)
async def test_a_runtime_that_no_worker_has_is_refused_and_how_to_get_it_is_told(
    control: Control, runtime: str, told: str
) -> None:
    with_workers(control, INTEL)
    request = function_request(f"no-{runtime.replace('.', '-')}") | {"Runtime": runtime}
    text = await refusal(control, "CreateFunction", **request)
    assert text.startswith(f"No worker of this cluster has the runtime {runtime}. ")
    assert told in text
    name = await control.create()
    assert await refusal(control, "UpdateFunctionConfiguration", FunctionName=name, Runtime=runtime) == text


async def test_an_architecture_that_no_worker_has_is_refused_and_theirs_are_named(control: Control) -> None:
    with_workers(control, INTEL)
    request = function_request("no-arm") | {"Architectures": ["arm64"]}
    text = await refusal(control, "CreateFunction", **request)
    assert text.startswith("No worker of this cluster has the architecture arm64: choose x86_64, or run ")
    name = await control.create()
    change = {"FunctionName": name, "ZipFile": ZIP, "Architectures": ["arm64"]}
    assert await refusal(control, "UpdateFunctionCode", **change) == text
    assert await refusal(control, "UpdateFunctionCode", **change, DryRun=True) == text


async def test_runtime_and_architecture_have_to_be_one_workers(control: Control) -> None:
    with_workers(control, INTEL, ARM)
    for runtime, architecture in (("python3.12", "arm64"), ("python3.13", "x86_64")):
        request = function_request("apart") | {"Runtime": runtime, "Architectures": [architecture]}
        assert f"has the runtime {runtime} for {architecture}." in await refusal(control, "CreateFunction", **request)
    name = await control.create(Runtime="python3.13", Architectures=["arm64"])
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Architectures"] == ["arm64"]


async def test_without_a_wish_the_architecture_is_the_workers_own(control: Control) -> None:
    with_workers(control, ARM)
    name = await control.create(Runtime="python3.13")
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Architectures"] == ["arm64"]
    with_workers(control, ARM, INTEL)
    name = await control.create(Runtime="python3.12")
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Architectures"] == ["x86_64"]


async def test_while_no_worker_says_what_it_can_run_everything_is_taken(control: Control) -> None:
    with_workers(control)
    name = await control.create(Runtime="java21", Architectures=["arm64"])
    with_workers(control, INTEL)
    await control("UpdateFunctionConfiguration", FunctionName=name, Description="its runtime stays as it is")
