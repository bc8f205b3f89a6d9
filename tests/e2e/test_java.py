"""Java in the running cluster: packages as its build tools make them, layers, and what becomes of a function that wants too much."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_aws_cli import AWS, aws
from tests.java import packages
from tests.needs import first_here
from tests.support import ROLE, zip_of

JAVA = first_here("java21", "java25", "java17")
MEMORY_MB = 512
SQS_EVENT = {"Records": [{"messageId": "1", "body": "hello", "eventSourceARN": "arn:queue", "attributes": {}}]}
pytestmark = pytest.mark.needs(JAVA)
MakeJava = Callable[..., str]


@pytest.fixture
def make_java(client: Any) -> Iterator[MakeJava]:
    """Creates functions of a package, gone after the test; answers the name, once the function is Active."""
    made: list[str] = []

    def make(package: bytes, handler: str, memory_mb: int = MEMORY_MB, **parameters: Any) -> str:
        name = f"java-{uuid.uuid4().hex[:12]}"
        client.create_function(
            FunctionName=name,
            Runtime=JAVA,
            Handler=handler,
            Role=ROLE,
            Code={"ZipFile": package},
            MemorySize=memory_mb,
            **{"Timeout": 50, **parameters},
        )
        made.append(name)
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
        return name

    yield make
    for name in made:
        client.delete_function(FunctionName=name)


def call(client: Any, name: str, event: object = None, **parameters: Any) -> Any:
    reply = client.invoke(FunctionName=name, Payload=json.dumps(event), **parameters)
    result = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, result
    return result


def uber_jar() -> bytes:
    return packages.jar_with({**packages.classes(), **packages.unpacked(*packages.libraries().values())})


def with_libraries() -> bytes:
    """Classes at the root, what they need in lib/, as Gradle's buildZip and Maven's assembly have it."""
    return packages.jar_with({**packages.classes(), **{f"lib/{name}": data for name, data in packages.libraries().items()}})


@pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")
def test_a_jar_with_everything_in_it_is_uploaded_as_it_is(cluster: Any, client: Any, tmp_path: Path) -> None:
    jar, out, name = tmp_path / "function.jar", tmp_path / "out.json", f"jar-{uuid.uuid4().hex[:8]}"
    jar.write_bytes(uber_jar())
    aws(
        cluster, "create-function", "--function-name", name, "--runtime", JAVA, "--handler", "example.Queue", "--role", ROLE,
        "--memory-size", str(MEMORY_MB), "--timeout", "50", "--zip-file", f"fileb://{jar}",
    )  # fmt: skip
    try:
        aws(cluster, "wait", "function-active-v2", "--function-name", name)
        told = aws(cluster, "invoke", "--function-name", name, "--payload", json.dumps(SQS_EVENT), str(out))
        assert "FunctionError" not in told, out.read_text()
        assert json.loads(out.read_text()) == {"batchItemFailures": [{"itemIdentifier": "hello arn:queue"}]}
    finally:
        client.delete_function(FunctionName=name)


@pytest.mark.parametrize("package", [uber_jar, with_libraries])
@pytest.mark.parametrize(
    ("handler", "event", "result"),
    [
        ("example.Functions::greet", {"name": "World", "age": 7}, {"name": "Hello World", "age": 8}),
        ("example.Copy", [1, "ü", None], [1, "ü", None]),
        ("example.Queue::handleRequest", SQS_EVENT, {"batchItemFailures": [{"itemIdentifier": "hello arn:queue"}]}),
    ],
    ids=["a plain object", "streams", "AWS's event classes"],
)
def test_a_handler_of_each_kind_runs_from_either_package(
    client: Any, make_java: MakeJava, package: Callable[[], bytes], handler: str, event: object, result: object
) -> None:
    name = make_java(package(), handler)
    assert [call(client, name, event) for _ in range(2)] == [result, result]


def test_five_layers_are_on_the_class_path_by_the_names_of_their_jars_behind_the_package(
    client: Any, make_java: MakeJava
) -> None:
    """A jar of the same name is the later layer's; of a resource in several jars the first by name is found first."""
    layers = []
    for number, first in enumerate("edcba"):
        jars = {
            "shared.jar": {"shared.txt": str(number)},
            f"own-{number}.jar": {f"own-{number}.txt": str(number)},
            f"{first}.jar": {"everywhere.txt": first},
        }
        content = zip_of({f"java/lib/{name}": packages.jar_with(files) for name, files in jars.items()})
        layers.append(client.publish_layer_version(LayerName=f"java-{uuid.uuid4().hex[:12]}", Content={"ZipFile": content}))
    arns = [layer["LayerVersionArn"] for layer in layers]
    package = {
        **packages.class_of("example.Functions"),
        **packages.class_of("example.Person"),
        "everywhere.txt": "root",
        "lib/zz.jar": packages.jar_with({"everywhere.txt": "lib"}),
    }
    try:
        name = make_java(zip_of(package), "example.Functions::resources", Layers=arns)
        assert call(client, name, "everywhere.txt") == ["root", "lib", "a", "b", "c", "d", "e"]
        assert [call(client, name, f"own-{number}.txt") for number in range(5)] == [[str(number)] for number in range(5)]
        assert call(client, name, "shared.txt") == ["4"]
        client.update_function_configuration(FunctionName=name, Layers=arns[::-1])
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        assert call(client, name, "shared.txt") == ["0"]
        assert call(client, name, "everywhere.txt") == ["root", "lib", "a", "b", "c", "d", "e"]
    finally:
        for layer in layers:
            client.delete_layer_version(LayerName=layer["LayerArn"], VersionNumber=1)


def test_snap_start_is_taken_and_told_and_its_hooks_are_never_called(client: Any, make_java: MakeJava) -> None:
    package = zip_of(packages.class_of("example.Hooks"))
    name = make_java(package, "example.Hooks::handle", SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
    shown = [
        client.get_function_configuration(FunctionName=name, Qualifier=qualifier)["SnapStart"] for qualifier in ("$LATEST", "1")
    ]
    assert shown == [
        {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"},
        {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"},
    ]
    assert call(client, name, {}, Qualifier="1") == call(client, name, {}) == []
    with pytest.raises(client.exceptions.ClientError) as refused:
        client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "Always"})
    assert refused.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value 'Always' at 'snapStart.applyOn' failed to satisfy constraint: "
        "Member must satisfy enum value set: [PublishedVersions, None]",
    }
    client.update_function_configuration(FunctionName=name, SnapStart={"ApplyOn": "None"})
    assert client.get_function_configuration(FunctionName=name)["SnapStart"]["ApplyOn"] == "None"


@pytest.mark.parametrize(
    ("kind", "memory_mb"), [("heap", 128), ("heap", 512), ("classes", 128), ("classes", 256), ("classes", 512), ("direct", 256)]
)
def test_a_function_that_takes_all_memory_is_ended_in_javas_words_or_in_the_platforms(
    client: Any, make_java: MakeJava, kind: str, memory_mb: int
) -> None:
    """Java's where its own limit is met first: a heap of 85 %, and there is room for the rest. Else the environment's is."""
    name = make_java(zip_of(packages.class_of("example.Memory")), f"example.Memory::{kind}", memory_mb)
    reply = client.invoke(FunctionName=name, Payload=b"true", LogType="Tail")
    assert reply["FunctionError"] == "Unhandled"
    document = json.loads(reply["Payload"].read())
    _, _, report = base64.b64decode(reply["LogResult"]).decode().partition("REPORT RequestId: ")
    if document["errorType"] == "java.lang.OutOfMemoryError":
        assert kind != "classes", "classes have no limit of their own, as on AWS from Java 17 on"
        assert document["errorMessage"].startswith("Java heap space" if kind == "heap" else "Cannot reserve 1048576 bytes")
        assert "Status: error\tError Type: Runtime.UserException" in report
    else:
        assert (kind, memory_mb) != ("heap", 512)
        assert document["errorType"] == "Runtime.ExitError"
        assert document["errorMessage"].endswith(" Error: Runtime exited with error: signal: killed")
        assert f"Memory Size: {memory_mb} MB\tMax Memory Used: {memory_mb} MB\t" in report
        assert "Status: error\tError Type: Runtime.OutOfMemory" in report


def test_the_machine_after_one_that_ran_out_of_memory_has_it_all_again(client: Any, make_java: MakeJava) -> None:
    name = make_java(zip_of(packages.class_of("example.Memory")), "example.Memory::heap")
    for _ in range(2):
        reply = client.invoke(FunctionName=name, Payload=b"true")
        assert json.loads(reply["Payload"].read())["errorMessage"] == "Java heap space"
        assert call(client, name, False) == "spared"
