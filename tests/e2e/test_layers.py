"""Layers in the running cluster: what they bring is found by real functions, in Python and Node.js."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import NODE, PYTHON, ROLE, zip_of

MakeLayer = Callable[..., str]
FOLDER = NODE.removesuffix(".x").replace("js", "")


@pytest.fixture
def make_layer(client: Any) -> Iterator[MakeLayer]:
    """Publishes layers of one version, gone after the test; answers the version's ARN."""
    made: list[str] = []

    def make(files: dict[str, str | bytes], **parameters: Any) -> str:
        name = f"layer-{uuid.uuid4().hex[:12]}"
        reply = client.publish_layer_version(LayerName=name, Content={"ZipFile": zip_of(files)}, **parameters)
        made.append(name)
        arn: str = reply["LayerVersionArn"]
        return arn

    yield make
    for name in made:
        client.delete_layer_version(LayerName=name, VersionNumber=1)


def call(client: Any, name: str, **parameters: Any) -> Any:
    reply = client.invoke(FunctionName=name, Payload=b"{}", **parameters)
    result = json.loads(reply["Payload"].read())
    assert "FunctionError" not in reply, result
    return result


def test_python_finds_a_layers_modules_and_the_later_layer_wins(
    client: Any, make_function: MakeFunction, make_layer: MakeLayer
) -> None:
    first = make_layer({"python/shared_code.py": "NAME = 'first'\n", "python/only_first.py": "X = 1\n", "data/a.txt": "a"})
    second = make_layer(
        {
            "python/shared_code.py": "NAME = 'second'\n",
            f"python/lib/{PYTHON}/site-packages/versioned.py": "Y = 2\n",
            "bin/tool": "#!/bin/sh\necho tool of a layer\n",
            "data/b.txt": "b",
        }
    )
    name = make_function(
        "import os, subprocess, shared_code, only_first, versioned\n"
        "def handler(event, context):\n"
        "    try:\n        open('/opt/data/new', 'w')\n        writable = True\n"
        "    except OSError:\n        writable = False\n"
        "    tool = subprocess.run(['tool'], capture_output=True, text=True).stdout\n"
        "    return [shared_code.NAME, only_first.X, versioned.Y, sorted(os.listdir('/opt/data')), tool, writable]\n",
        Layers=[first, second],
    )
    assert call(client, name) == ["second", 1, 2, ["a.txt", "b.txt"], "tool of a layer\n", False]
    client.update_function_configuration(FunctionName=name, Layers=[second, first])
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name)[0] == "first"


def test_of_five_layers_each_is_laid_over_those_before_it(
    client: Any, make_function: MakeFunction, make_layer: MakeLayer
) -> None:
    layers = [
        make_layer({f"python/own_{number}.py": f"N = {number}\n", **{f"data/{n}": str(number) for n in range(number, 5)}})
        for number in range(5)
    ]
    name = make_function(
        "import own_0, own_1, own_2, own_3, own_4\n"
        "def handler(event, context):\n"
        "    return [open(f'/opt/data/{n}').read() for n in range(5)], own_0.N + own_4.N\n",
        Layers=layers,
    )
    assert call(client, name) == [["0", "1", "2", "3", "4"], 4]
    client.update_function_configuration(FunctionName=name, Layers=layers[::-1])
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name) == [["0"] * 5, 4]
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.update_function_configuration(FunctionName=name, Layers=[*layers, make_layer({"data/6": ""})])


@pytest.mark.needs(NODE)
def test_node_finds_a_layers_modules(client: Any, make_function: MakeFunction, make_layer: MakeLayer) -> None:
    layer = make_layer(
        {
            "nodejs/node_modules/from-layer/package.json": json.dumps({"name": "from-layer", "main": "index.js"}),
            "nodejs/node_modules/from-layer/index.js": "exports.value = 'of a layer';\n",
            f"nodejs/{FOLDER}/node_modules/versioned/index.js": "exports.value = 'of this version';\n",
        }
    )
    name = make_function(
        "const layer = require('from-layer');\n"
        "exports.handler = async () => [layer.value, require('versioned').value, process.env.NODE_PATH];\n",
        runtime=NODE,
        file="index.js",
        Layers=[layer],
    )
    value, versioned, node_path = call(client, name)
    assert (value, versioned) == ("of a layer", "of this version")
    assert node_path.startswith(f"/opt/nodejs/{FOLDER}/node_modules:/opt/nodejs/node_modules")


def test_a_function_may_be_a_layers_alone(client: Any, make_function: MakeFunction, make_layer: MakeLayer) -> None:
    layer = make_layer({"python/app_in_layer.py": "def handler(event, context):\n    return __file__\n"})
    name = make_function("", Handler="app_in_layer.handler", Layers=[layer])
    assert call(client, name) == "/opt/python/app_in_layer.py"


def test_a_version_keeps_a_layer_that_was_deleted(client: Any, make_function: MakeFunction, make_layer: MakeLayer) -> None:
    layer = make_layer({"python/shared_code.py": "NAME = 'kept'\n"})
    name = make_function("import shared_code\ndef handler(event, context):\n    return shared_code.NAME\n", Layers=[layer])
    client.publish_version(FunctionName=name)
    client.delete_layer_version(LayerName=layer.split(":")[6], VersionNumber=1)
    client.update_function_configuration(FunctionName=name, Layers=[])
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name, Qualifier="1") == "kept"
    reply = client.invoke(FunctionName=name, Payload=b"{}")
    assert "No module named 'shared_code'" in reply["Payload"].read().decode()


def test_locations_are_downloaded_with_a_plain_get_and_stand_no_change(
    client: Any, make_function: MakeFunction, make_layer: MakeLayer
) -> None:
    files: dict[str, str | bytes] = {"python/shared_code.py": "NAME = 'downloaded'\n"}
    layer = client.get_layer_version_by_arn(Arn=make_layer(files))
    source = "def handler(event, context):\n    return 1\n"
    function = client.get_function(FunctionName=make_function(source))
    for location, expected in (
        (layer["Content"]["Location"], zip_of(files)),
        (function["Code"]["Location"], zip_of({"app.py": source})),
    ):
        with urllib.request.urlopen(location, timeout=10) as answer:
            assert answer.read() == expected
            assert answer.headers["content-type"] == "application/zip"
        for forged in (
            location[:-1] + ("0" if location[-1] != "0" else "1"),
            location.replace("expires=", "expires=9"),
            location.partition("?")[0],
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(forged, timeout=10)
            assert refused.value.code == 403


def test_code_is_taken_from_the_folder_that_stands_in_for_s3(cluster: Any, client: Any) -> None:
    folder = cluster.data_dir / "s3" / "my-bucket"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code.zip").write_bytes(zip_of({"app.py": "def handler(event, context):\n    return 'from a bucket'\n"}))
    name = f"s3-{uuid.uuid4().hex[:12]}"
    code = {"S3Bucket": "my-bucket", "S3Key": "code.zip"}
    client.create_function(FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code=code)
    try:
        assert call(client, name) == "from a bucket"
    finally:
        client.delete_function(FunctionName=name)
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="S3 Error Code: NoSuchKey"):
        client.create_function(
            FunctionName=name, Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={**code, "S3Key": "none.zip"}
        )
