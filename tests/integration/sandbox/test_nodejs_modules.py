"""Where Node.js functions find modules: their own, layers', the SDK; required and imported alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.worker.runtimes.nodejs.family import SDK
from services.worker.sandbox.spec import RuntimeExit
from tests.integration.sandbox.harness import Harness

NODES = ["nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x"]
every_node = pytest.mark.parametrize("runtime", [pytest.param(node, marks=pytest.mark.needs(node)) for node in NODES])
IMPORTS = (
    "import {value} from 'found';\n"
    "export const handler = async name => [value, (await import(name)).value, import.meta.url.startsWith('file:///var/task/')];\n"
)
REQUIRES = "const {value} = require('found');\nexports.handler = async name => [value, require(name).value, true];\n"
by_import_and_require = pytest.mark.parametrize(
    "files", [{"app.mjs": IMPORTS}, {"app.js": REQUIRES}], ids=["import", "require"]
)


def package(folder: str, value: str, kind: str = "commonjs") -> dict[str, str]:
    name = folder.rpartition("/")[2]
    text = f"exports.value = '{value}';" if kind == "commonjs" else f"export const value = '{value}';"
    return {
        f"{folder}/package.json": json.dumps({"name": name, "main": "main.js", "type": kind}),
        f"{folder}/main.js": text,
    }


@every_node
@by_import_and_require
async def test_a_layers_modules_are_found(harness: Harness, runtime: str, files: dict[str, str]) -> None:
    layers = package("nodejs/node_modules/found", "of a layer") | package("nodejs/node_modules/later", "loaded later")
    async with harness.running(files, runtime=runtime, layers=layers) as function:
        assert await function.result("later") == ["of a layer", "loaded later", True]


@by_import_and_require
@pytest.mark.parametrize(
    "runtime", [pytest.param(node, marks=pytest.mark.needs(node)) for node in NODES if node != "nodejs18.x"]
)
async def test_a_layers_folder_for_one_version_comes_before_its_common_one(
    harness: Harness, runtime: str, files: dict[str, str]
) -> None:
    versioned = f"nodejs/{runtime.removesuffix('.x').replace('js', '')}/node_modules"
    layers = {
        **package("nodejs/node_modules/found", "common"),
        **package(f"{versioned}/found", "of this version"),
        **package("nodejs/node_modules/later", "common"),
    }
    async with harness.running(files, runtime=runtime, layers=layers) as function:
        assert await function.result("later") == ["of this version", "common", True]
        assert "Error" in str(await function.error("missing"))


@every_node
@by_import_and_require
async def test_what_the_function_brings_comes_first(harness: Harness, runtime: str, files: dict[str, str]) -> None:
    folder = f"nodejs/{runtime.removesuffix('.x').replace('js', '')}/node_modules"
    layers = package("nodejs/node_modules/found", "of a layer") | package(f"{folder}/found", "of this version")
    own = files | package("node_modules/found", "its own") | package("node_modules/@scope/part", "scoped")
    async with harness.running(own, runtime=runtime, layers=layers) as function:
        assert await function.result("@scope/part") == ["its own", "scoped", True]


@pytest.mark.needs("nodejs22.x")
async def test_modules_of_layers_may_be_es_modules_that_import_each_other(harness: Harness) -> None:
    layers: dict[str, str | bytes] = {**package("nodejs/node_modules/later", "deep", kind="module")}
    layers |= package("nodejs/node_modules/found", "", kind="module")
    layers["nodejs/node_modules/found/main.js"] = "export {value} from 'later'"
    async with harness.running({"app.mjs": IMPORTS}, runtime="nodejs22.x", layers=layers) as function:
        assert await function.result("later") == ["deep", "deep", True]


@pytest.mark.needs("nodejs20.x")
async def test_a_module_that_is_nowhere_is_named(harness: Harness) -> None:
    async with harness.running(
        {"app.mjs": IMPORTS}, runtime="nodejs20.x", layers=package("nodejs/node20/node_modules/a", "")
    ) as function:
        assert isinstance(function.ready, RuntimeExit)
        document = json.loads(function.ready.init_error or b"")
    assert document["errorMessage"].startswith("Cannot find package 'found' imported from ")


SDK_BY_REQUIRE = (
    "const {S3Client} = require('@aws-sdk/client-s3');\nconst {DynamoDBDocumentClient} = require('@aws-sdk/lib-dynamodb');\n"
    "exports.handler = async () => [new S3Client({}).config.serviceId, DynamoDBDocumentClient.name, require.resolve('@aws-sdk/client-s3')];\n"
)
SDK_BY_IMPORT = (
    "import {S3Client} from '@aws-sdk/client-s3';\nimport {DynamoDBDocumentClient} from '@aws-sdk/lib-dynamodb';\n"
    "import {fileURLToPath} from 'node:url';\n"
    "export const handler = async () => [new S3Client({}).config.serviceId, DynamoDBDocumentClient.name,"
    " import.meta.resolve === undefined ? 'unknown' : fileURLToPath(import.meta.resolve('@aws-sdk/client-s3'))];\n"
)


@pytest.mark.needs(SDK)
@every_node
@pytest.mark.parametrize("files", [{"app.mjs": SDK_BY_IMPORT}, {"app.js": SDK_BY_REQUIRE}], ids=["import", "require"])
async def test_the_sdk_is_there_without_being_packed_and_nobody_writes_to_it(
    harness: Harness, runtime: str, files: dict[str, str]
) -> None:
    where = "/var/runtime/node_modules/@aws-sdk/client-s3/dist-cjs/index.js"
    async with harness.running(files, runtime=runtime) as function:
        *loaded, found = await function.result()
        assert loaded == ["S3", "DynamoDBDocumentClient"]
        assert found in (where, "unknown")
        assert await _writes(harness, runtime) == "EROFS"


async def _writes(harness: Harness, runtime: str) -> Any:
    source = (
        "exports.handler = async () => { try { require('fs').writeFileSync('/var/runtime/node_modules/@aws-sdk/x', '') }"
        " catch (error) { return error.code } }"
    )
    async with harness.running(source, runtime=runtime) as function:
        return await function.result()


@pytest.mark.needs(SDK, "nodejs22.x")
@by_import_and_require
async def test_a_layers_sdk_comes_before_the_runtimes(harness: Harness, files: dict[str, str]) -> None:
    layers = package("nodejs/node_modules/found", "x") | package("nodejs/node_modules/@aws-sdk/client-s3", "of a layer")
    async with harness.running(files, runtime="nodejs22.x", layers=layers) as function:
        assert await function.result("@aws-sdk/client-s3") == ["x", "of a layer", True]
