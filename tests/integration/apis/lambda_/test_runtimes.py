"""Functions are made whatever the workers can run; why none can run one is a sentence with what to do."""

from __future__ import annotations

import pytest

from shared.dispatch.cell.worker_record import Capabilities, why_none_runs
from tests.integration.registry.support import ZIP, Control


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


@pytest.mark.parametrize("runtime", ["python3.13", "java21", "dotnet8", "ruby3.4"])
async def test_a_function_of_a_runtime_or_an_architecture_that_no_worker_has_is_made_and_changed(
    control: Control, runtime: str
) -> None:
    with_workers(control, INTEL)
    name = await control.create(Runtime=runtime, Architectures=["arm64"])
    made = await control("GetFunctionConfiguration", FunctionName=name)
    assert (made["Runtime"], made["Architectures"]) == (runtime, ["arm64"])
    name = await control.create()
    await control("UpdateFunctionConfiguration", FunctionName=name, Runtime=runtime)
    await control("UpdateFunctionCode", FunctionName=name, ZipFile=ZIP, Architectures=["arm64"], DryRun=True)


@pytest.mark.parametrize(
    ("runtime", "told"),
    [
        ("python3.13", "lambdad runtimes install python3.13"),
        ("nodejs22.x", "lambdad runtimes install nodejs22.x"),
        ("nodejs16.x", "`node` of version 16"),
        ("ruby3.4", "lambdad runtimes install ruby3.4"),
        ("dotnet8", "choose a provided runtime"),
    ],
)
def test_what_would_bring_a_runtime_is_told(runtime: str, told: str) -> None:
    text = why_none_runs([INTEL], runtime, "x86_64")
    assert text.startswith(f"No worker of this cluster has the runtime {runtime}. ")
    assert told in text


def test_runtime_and_architecture_have_to_be_one_workers() -> None:
    for runtime, architecture in (("python3.12", "arm64"), ("python3.13", "x86_64")):
        assert f"has the runtime {runtime} for {architecture}." in why_none_runs([INTEL, ARM], runtime, architecture)
    assert why_none_runs([INTEL, ARM], "python3.13", "arm64") == ""
    text = why_none_runs([INTEL], "python3.12", "arm64")
    assert text.startswith("No worker of this cluster has the architecture arm64: choose x86_64, or run ")


async def test_without_a_wish_the_architecture_is_the_workers_own(control: Control) -> None:
    with_workers(control, ARM)
    name = await control.create(Runtime="python3.13")
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Architectures"] == ["arm64"]
    with_workers(control, ARM, INTEL)
    name = await control.create(Runtime="python3.12")
    assert (await control("GetFunctionConfiguration", FunctionName=name))["Architectures"] == ["x86_64"]
