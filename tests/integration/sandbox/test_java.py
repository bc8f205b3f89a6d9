"""What Java functions see, answer and log."""

from __future__ import annotations

import json

import pytest

from services.worker.sandbox.spec import RuntimeExit
from tests.integration.sandbox.harness import Harness
from tests.java import packages
from tests.needs import each, first_here, offered

EVERY_JAVA = offered("java")
JAVA = first_here("java21", "java25", "java17")
"""What is deep is tested on one, with a descriptor for records: Java 11 has none."""
pytestmark = pytest.mark.needs(JAVA)
FUNCTIONS = "example.Functions"


@pytest.mark.parametrize(
    ("method", "event", "result"),
    [
        ("count", {"a": [1, None, "ü"]}, {"count": 1, "event": {"a": [1, None, "ü"]}}),
        ("upper", "lower", "LOWER"),
        ("increment", 41, 42),
        ("sort", [3, 1, 2], [1, 2, 3]),
        ("nothing", {}, None),
        ("greet", {"name": "World", "age": 7, "more": True}, {"name": "Hello World", "age": 8}),
    ],
)
async def test_a_method_gets_the_event_as_its_type_and_answers_with_its_own(
    harness: Harness, method: str, event: object, result: object
) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=f"{FUNCTIONS}::{method}") as function:
        assert await function.result(event) == result


@pytest.mark.parametrize(
    ("handler", "event"), [("example.Echo", {"a": 1}), ("example.Echo::handleRequest", {"a": 1}), ("example.Copy", [1, "ü"])]
)
async def test_a_class_that_implements_an_interface_is_named_alone(harness: Harness, handler: str, event: object) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=handler) as function:
        for _ in range(3):
            assert await function.result(event) == event


@each(*EVERY_JAVA)
async def test_a_runtime_is_its_own_major_version_prepared_and_anew(harness: Harness, runtime: str) -> None:
    files = {**packages.classes(), "data.txt": "relative"}
    handler = f"{FUNCTIONS}::around"
    variables = {"Hello": "Wörld", "TZ": "Asia/Tokyo"}
    async with harness.running(files, runtime=runtime, handler=handler, memory_mb=512, variables=variables) as function:
        prepared = await function.result("data.txt")
    variables["JAVA_TOOL_OPTIONS"] = "-Doption=set"
    async with harness.running(files, runtime=runtime, handler=handler, memory_mb=512, variables=variables) as function:
        anew = await function.result("data.txt")
        assert b"Picked up JAVA_TOOL_OPTIONS: -Doption=set" in function.output
    assert (prepared.get("option"), anew.pop("option")) == (None, "set")
    assert set(anew.pop("variables")) == {*prepared.pop("variables"), "JAVA_TOOL_OPTIONS"}
    assert prepared == anew
    heap = prepared.pop("heap")
    assert 0.8 * 512 < heap / 1024**2 <= 0.85 * 512
    assert prepared == {
        "java": int(runtime.removeprefix("java")),
        "hello": "Wörld",
        "child": "Wörld\n/var/task\n",
        "folder": "/var/task",
        "zone": "Asia/Tokyo",
        "encoding": "UTF-8",
        "main": "main",
        "file": "relative",
    }


async def test_a_function_sees_the_variables_that_it_has_and_no_other(harness: Harness) -> None:
    files = {**packages.classes(), "data.txt": ""}
    async with harness.running(files, runtime=JAVA, handler=f"{FUNCTIONS}::around", variables={"Hello": "World"}) as function:
        seen = set((await function.result("data.txt"))["variables"])
    assert {"Hello", "_HANDLER", "AWS_LAMBDA_RUNTIME_API", "LD_LIBRARY_PATH", "_LAMBDA_TELEMETRY_LOG_FD"} <= seen
    assert not [name for name in seen if name.strip("_0123456789") == ""]


async def test_more_variables_than_a_prepared_machine_has_places_for_are_all_there(harness: Harness) -> None:
    files = {**packages.classes(), "data.txt": ""}
    variables = {f"v{number:03}": "" for number in range(400)}
    async with harness.running(files, runtime=JAVA, handler=f"{FUNCTIONS}::around", variables=variables) as function:
        assert set(variables) <= set((await function.result("data.txt"))["variables"])


async def test_an_option_that_the_function_sets_takes_the_place_of_the_runtimes(harness: Harness) -> None:
    files = {**packages.classes(), "data.txt": ""}
    variables = {"JAVA_TOOL_OPTIONS": "-XX:+UseParallelGC -Xmx64m"}
    async with harness.running(files, runtime=JAVA, handler=f"{FUNCTIONS}::around", variables=variables) as function:
        assert (await function.result("data.txt"))["heap"] <= 64 * 1024**2


async def test_a_wrapper_starts_the_machine(harness: Harness) -> None:
    files = {**packages.classes(), "data.txt": "", "wrapper": '#!/bin/sh\nexport Hello=wrapped\nexec "$@"\n'}
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}
    async with harness.running(files, runtime=JAVA, handler=f"{FUNCTIONS}::around", variables=variables) as function:
        assert (await function.result("data.txt"))["hello"] == "wrapped"


@pytest.mark.parametrize("place", ["lib", "layer", "root"])
async def test_classes_and_their_libraries_are_found_in_every_place(harness: Harness, place: str) -> None:
    event = {"Records": [{"messageId": "1", "body": "hello", "eventSourceARN": "arn:queue", "attributes": {}}]}
    libraries = packages.libraries()
    files: dict[str, bytes] = (
        {"lib/function.jar": packages.jar_of("example.Queue")} if place == "lib" else packages.class_of("example.Queue")
    )
    if place == "root":
        files |= packages.unpacked(*libraries.values())
    elif place == "lib":
        files |= {f"lib/{name}": data for name, data in libraries.items()}
    layers = {f"java/lib/{name}": data for name, data in libraries.items()} if place == "layer" else None
    async with harness.running(files, runtime=JAVA, handler="example.Queue", layers=layers) as function:
        assert await function.result(event) == {"batchItemFailures": [{"itemIdentifier": "hello arn:queue"}]}


@each(*EVERY_JAVA)
async def test_the_context_has_what_aws_gives(harness: Harness, runtime: str) -> None:
    request_id = "8e1b3b2a-0000-4000-8000-000000000001"
    async with harness.running(packages.classes(), runtime=runtime, handler=f"{FUNCTIONS}::context") as function:
        context = await function.result({}, request_id=request_id, client_context='{"custom": {"a": "b"}}')
    assert 0 < context.pop("left") <= 3_000
    assert context == {
        "id": request_id,
        "name": "fn",
        "version": "$LATEST",
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:fn",
        "memory": 1769,
        "group": "/aws/lambda/fn",
        "stream": "2026/01/01/[$LATEST]abc",
        "custom": {"a": "b"},
    }


@pytest.mark.parametrize("variables", [{}, {"JAVA_TOOL_OPTIONS": "-Da=b"}], ids=["prepared", "anew"])
@each(*EVERY_JAVA)
async def test_the_trace_header_is_a_property_and_before_java_17_a_variable(
    harness: Harness, runtime: str, variables: dict[str, str]
) -> None:
    traces = [f"Root=1-3152b799-8954dae64eda91bc9a23a7e{n};Parent=7fa8c0f79203be72;Sampled=1" for n in range(2)]
    handler = f"{FUNCTIONS}::trace"
    async with harness.running(packages.classes(), runtime=runtime, handler=handler, variables=variables) as function:
        for trace in (*traces, None):
            variable = trace if runtime == "java11" else None
            found = await function.result({}, trace=trace)  # Without what is null, as AWS's serializer has it.
            assert (found.get("property"), found.get("variable"), found["listed"]) == (trace, variable, variable is not None)
        assert b"WARNING" not in function.output


async def test_printed_lines_are_lines_and_what_the_logger_gets_is_one_record(harness: Harness) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=f"{FUNCTIONS}::log") as function:
        await function.result({})
    assert b"printed\non two lines\n" in function.output
    assert b"an error's line\n" in function.output
    assert function.records == ["logged\non two lines\n"]


async def test_what_a_handler_throws_is_answered_and_logged_as_aws_does(harness: Harness) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=f"{FUNCTIONS}::fail") as function:
        document = await function.error("reason")
        assert document["errorMessage"] == "no: reason"
        assert document["errorType"] == "java.lang.IllegalArgumentException"
        assert document["stackTrace"][0].startswith("example.Functions.fail(Functions.java:")
        assert not [frame for frame in document["stackTrace"] if "lambdad" in frame or "com.amazonaws" in frame]
        (record,) = function.records
        assert record.startswith(
            "no: reason: java.lang.IllegalArgumentException\njava.lang.IllegalArgumentException: no: reason\n\tat example"
        )
        assert "Caused by: java.io.IOException: cause\n" in record
        assert (await function.error(None))["errorMessage"] == "java.lang.IllegalStateException"


@pytest.mark.parametrize(
    ("handler", "message", "kind"),
    [
        ("example.Missing::handle", "Class not found: example.Missing", "java.lang.ClassNotFoundException"),
        (
            "example.Functions::missing",
            "No public method named missing with appropriate method signature found on class example.Functions",
            None,
        ),
        (
            "example.Functions::invisible",
            "No public method named invisible with appropriate method signature found on class example.Functions",
            None,
        ),
        ("example.Neither", "Class does not implement an appropriate handler interface: example.Neither", None),
        ("::", "Invalid handler: `::'", None),
    ],
)
async def test_a_handler_that_is_not_there_is_told_when_it_is_invoked(
    harness: Harness, handler: str, message: str, kind: str | None
) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=handler) as function:
        document = await function.error({})
    assert document["errorMessage"] == message
    assert kind is None or document["errorType"] == kind


async def test_a_constructor_that_throws_fails_the_initialisation(harness: Harness) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler="example.Broken::handle") as function:
        assert isinstance(function.ready, RuntimeExit)
    assert function.ready.exit_status == 1
    assert function.ready.init_error is not None
    document = json.loads(function.ready.init_error)
    assert (document["errorMessage"], document["errorType"]) == ("not today", "java.lang.IllegalStateException")


async def test_memory_beyond_the_heap_is_javas_own_error_and_ends_the_machine(harness: Harness) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=f"{FUNCTIONS}::fill", memory_mb=512) as function:
        document = await function.error({})
        assert document["errorType"] == "java.lang.OutOfMemoryError"
        assert document["errorMessage"] == "Java heap space"


async def test_the_machine_that_ends_is_started_anew(harness: Harness) -> None:
    async with harness.running(packages.classes(), runtime=JAVA, handler=f"{FUNCTIONS}::exit") as function:
        end = await function.invoke(3)
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 3
        await function.restart()
        end = await function.invoke(4)
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 4


async def test_a_function_of_another_size_has_a_heap_of_another_size(harness: Harness) -> None:
    files = {**packages.classes(), "data.txt": ""}
    heaps = []
    for memory_mb in (256, 1_024):
        async with harness.running(files, runtime=JAVA, handler=f"{FUNCTIONS}::around", memory_mb=memory_mb) as function:
            heaps.append((await function.result("data.txt"))["heap"])
    assert 3.5 < heaps[1] / heaps[0] < 4.5
