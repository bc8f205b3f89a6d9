"""What Node.js functions see, answer and log."""

from __future__ import annotations

import json
import re

import pytest

from services.worker.sandbox.spec import RuntimeExit, RuntimeResponse
from tests.integration.sandbox.harness import Harness, until
from tests.needs import each, first_here, offered
from tests.support import NODE as USUAL_NODE

NODES = offered("nodejs")
NODE = first_here(USUAL_NODE, *reversed(NODES))
WITH_CALLBACKS = [name for name in NODES if int(name[6:8]) <= 22]
ID = "8e1b3b2a-0000-4000-8000-000000000000"
pytestmark = pytest.mark.needs(NODE)


@each(*NODES)
async def test_every_node_of_this_machine_runs_its_own_version(harness: Harness, runtime: str) -> None:
    source = "export const handler = async (event, context) => [process.version, event, context.awsRequestId];"
    async with harness.running({"app.mjs": source}, runtime=runtime) as function:
        version, event, request_id = await function.result({"a": [1, None, "ü"]}, request_id=ID)
    assert f"nodejs{version.removeprefix('v').partition('.')[0]}.x" == runtime
    assert event == {"a": [1, None, "ü"]}
    assert request_id == ID


@pytest.mark.parametrize(
    "files",
    [
        {"app.js": "exports.handler = async (event, context) => ({event, id: context.awsRequestId});"},
        {"app.mjs": "export const handler = async (event, context) => ({event, id: context.awsRequestId});"},
        {"app.cjs": "exports.handler = async (event, context) => ({event, id: context.awsRequestId});"},
        {
            "app.js": "export const handler = (event, context) => Promise.resolve({event, id: context.awsRequestId});",
            "package.json": '{"type": "module"}',
        },
    ],
    ids=["commonjs", "es-module", "cjs", "package-of-modules"],
)
async def test_every_kind_of_module_and_handler_runs(harness: Harness, files: dict[str, str]) -> None:
    async with harness.running(files, runtime=NODE) as function:
        for number in range(3):
            request_id = f"8e1b3b2a-0000-4000-8000-00000000000{number}"
            assert await function.result({"a": "ü"}, request_id=request_id) == {"event": {"a": "ü"}, "id": request_id}


async def test_the_context_has_the_members_that_aws_gives(harness: Harness) -> None:
    async with harness.running("exports.handler = async (event, context) => context", runtime=NODE) as function:
        context = await function.result({}, client_context='{"custom": {"a": 1}}')
    assert list(context) == [
        "callbackWaitsForEmptyEventLoop", "functionVersion", "functionName", "memoryLimitInMB", "logGroupName", "logStreamName",
        "clientContext", "invokedFunctionArn", "awsRequestId",
    ]  # fmt: skip
    assert context["clientContext"] == {"custom": {"a": 1}}
    assert context["memoryLimitInMB"] == "1769"


async def test_a_prepared_process_has_the_functions_variables(harness: Harness) -> None:
    source = "exports.handler = async () => [process.env.Hello, process.env.NODE_PATH, process.cwd(), new Date(0).getHours(), process.argv.length]"
    async with harness.running(source, runtime=NODE, variables={"Hello": "World", "TZ": "Asia/Tokyo"}) as function:
        hello, path, folder, hour, arguments = await function.result()
    assert (hello, folder, hour, arguments) == ("World", "/var/task", 9, 2)
    assert path.startswith(f"/opt/nodejs/{NODE.removesuffix('.x').replace('js', '')}/node_modules:")


async def test_node_options_are_in_force(harness: Harness) -> None:
    source = "exports.handler = async () => process.execArgv.length + Number(globalThis.fromOption)"
    files = {"app.js": source, "early.cjs": "globalThis.fromOption = 41"}
    async with harness.running(files, runtime=NODE, variables={"NODE_OPTIONS": "--require /var/task/early.cjs"}) as function:
        assert await function.result() == 41


async def test_console_lines_have_the_form_of_aws(harness: Harness) -> None:
    source = "console.log('start'); exports.handler = async () => { console.log('one', {a: 1}); console.error('two'); console.debug('three') }"
    async with harness.running(source, runtime=NODE) as function:
        assert await function.result({}, request_id="8e1b3b2a-0000-4000-8000-000000000000") is None
        lines = [line.split("\t") for line in bytes(function.output).decode().splitlines()]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line[0]) for line in lines)
    assert [line[1:] for line in lines] == [
        ["undefined", "INFO", "start"],
        ["8e1b3b2a-0000-4000-8000-000000000000", "INFO", "one { a: 1 }"],
        ["8e1b3b2a-0000-4000-8000-000000000000", "ERROR", "two"],
        ["8e1b3b2a-0000-4000-8000-000000000000", "DEBUG", "three"],
    ]


@pytest.mark.parametrize(
    ("source", "error_type", "message"),
    [
        ("exports.handler = async () => { throw Error('Error: some_error_msg') }", "Error", "Error: some_error_msg"),
        ("exports.handler = async () => { throw 'text' }", "string", "text"),
        ("exports.handler = () => { throw new TypeError('wrong') }", "TypeError", "wrong"),
        (
            "exports.handler = async () => { const a = {}; a.a = a; return a }",
            "Runtime.JSONStringifyError",
            "Unable to stringify response body",
        ),
    ],
)
async def test_errors_are_answered_as_on_aws(harness: Harness, source: str, error_type: str, message: str) -> None:
    async with harness.running(source, runtime=NODE) as function:
        document = await function.error()
        assert list(document) == ["errorType", "errorMessage", "trace"]
        assert (document["errorType"], document["errorMessage"]) == (error_type, message)
        assert "\tERROR\tInvoke Error \t{" in bytes(function.output).decode()
        assert (await function.error())["errorType"] == error_type


@each(*WITH_CALLBACKS)
async def test_callbacks_answer_where_aws_has_them(harness: Harness, runtime: str) -> None:
    source = (
        "exports.handler = (event, context, callback) => callback(event ? new TypeError(event) : null, context.awsRequestId)"
    )
    async with harness.running(source, runtime=runtime) as function:
        assert await function.result(None, request_id=ID) == ID
        document = await function.error("wrong")
        assert (document["errorType"], document["errorMessage"]) == ("TypeError", "wrong")


@each(*(name for name in NODES if name not in WITH_CALLBACKS))
async def test_a_handler_with_a_callback_is_refused_from_version_24_on(harness: Harness, runtime: str) -> None:
    source = "exports.handler = (event, context, callback) => callback(null, 1)"
    async with harness.running(source, runtime=runtime) as function:
        assert isinstance(function.ready, RuntimeExit)
        document = json.loads(function.ready.init_error or b"")
    assert document["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert document["errorMessage"].startswith("ERROR: AWS Lambda has removed support for callback-based function handlers ")


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        (
            {"app.js": "require('nothing')"},
            "app.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nothing'\nRequire stack:\n- ",
        ),
        (
            {"app.js": ""},
            "missing.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'missing'\nRequire stack:\n- ",
        ),
        ({"app.js": "exports.handler = ("}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: "),
        ({"app.js": "exports.other = 1"}, "app.handler", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ({"app.js": "exports.handler = 1"}, "app.handler", "Runtime.HandlerNotFound", "app.handler is not a function"),
        ({"app.js": ""}, "app", "Runtime.MalformedHandlerName", "Bad handler"),
        ({"app.js": "throw new RangeError('at load')"}, "app.handler", "RangeError", "at load"),
    ],
)
async def test_an_initialisation_that_fails_is_posted(
    harness: Harness, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    async with harness.running(files, runtime=NODE, handler=handler) as function:
        assert isinstance(function.ready, RuntimeExit)
        assert function.ready.exit_status == 1
        document = json.loads(function.ready.init_error or b"")
    assert document["errorType"] == error_type
    assert document["errorMessage"].startswith(message)


async def test_handlers_that_never_settle_are_noticed(harness: Harness) -> None:
    source = "exports.handler = event => event === 'promise' ? new Promise(() => {}) : undefined"
    async with harness.running(source, runtime=NODE) as function:
        assert (await function.error("promise"))["errorType"] == "Runtime.NodeJsExit"
        assert await function.result("nothing") is None


async def test_a_promise_rejected_with_nothing_fails_as_context_fail_does(harness: Harness) -> None:
    source = "exports.handler = async event => { throw event === 'null' ? null : undefined }"
    async with harness.running(source, runtime=NODE) as function:
        for thrown in ("null", "undefined"):
            assert await function.error(thrown) == {"errorType": "string", "errorMessage": "handled", "trace": []}


async def test_an_unhandled_rejection_ends_the_process_after_an_answer(harness: Harness) -> None:
    source = "exports.handler = () => new Promise(() => { Promise.reject(new Error('nobody')) ; setTimeout(() => {}, 10000) })"
    async with harness.running(source, runtime=NODE) as function:
        assert (await function.error())["errorType"] == "Runtime.UnhandledPromiseRejection"
        end = await function.invoke()
        assert isinstance(end, RuntimeExit)
        assert end.exit_status == 128
        await function.restart()


async def test_six_megabytes_go_both_ways_and_a_larger_answer_is_refused(harness: Harness) -> None:
    source = "exports.handler = async event => typeof event === 'string' ? event : 'a'.repeat(event)"
    async with harness.running(source, runtime=NODE) as function:
        text = "b" * (6 * 1024 * 1024 - 2)
        assert await function.result(text) == text
        end = await function.invoke(6_291_555)
        assert isinstance(end, RuntimeResponse)
        assert (end.payload, end.too_large_bytes) == (b"", 6_291_557)
        assert await function.result("still here") == "still here"


async def test_a_message_of_several_lines_is_one_record(harness: Harness) -> None:
    source = "exports.handler = async () => { process.stdout.write('a\\nb\\n'); console.log('one\\ntwo'); console.error(new Error('three')) }"
    async with harness.running(source, runtime=NODE) as function:
        await function.result()
        await until(lambda: len(function.records) == 2, "the records")
        message, error = function.records
        assert message.endswith("\tINFO\tone\ntwo\n")
        assert "Error: three\n    at " in error
        assert function.output.startswith(b"a\nb\n")
