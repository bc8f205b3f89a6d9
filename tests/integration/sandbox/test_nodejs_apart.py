"""The runtime of Node.js stands apart from the function's code: neither breaks or sees the other."""

from __future__ import annotations

import json

import pytest

from services.worker.sandbox.spec import RuntimeExit
from tests.integration.sandbox.harness import Harness
from tests.support import NODE

pytestmark = pytest.mark.needs(NODE)

BREAKS = {
    "http": "const http = require('http'); http.request = http.get = http.Agent.prototype.addRequest = broken;"
    "http.ClientRequest.prototype.onSocket = http.OutgoingMessage.prototype.end = broken;",
    "sockets": "const net = require('net'); net.connect = net.createConnection = net.Socket.prototype.connect = broken;"
    "net.Socket.prototype.write = net.Socket.prototype._write = broken;",
    "events": "const E = require('events'); E.prototype.on = E.prototype.once = broken;",
    "json": "JSON.parse = JSON.stringify = broken;",
    "buffers": "Buffer.concat = Buffer.from = Buffer.alloc = Buffer.byteLength = Buffer.prototype.toString = broken;",
    "promises": "Promise = class { constructor() { broken() } };",
    "then": "Promise.prototype.catch = Promise.prototype.finally = broken;",
    "time": "Date = class { constructor() { broken() } static now() { broken() } };",
    "files": "const fs = require('fs'); fs.writeSync = fs.readSync = fs.write = broken;",
    "text": "require('util').format = require('util').inspect = broken;",
    "strings": "const S = String.prototype;"
    "S.split = S.slice = S.indexOf = S.toLowerCase = S.trim = S.replace = S.startsWith = broken;",
    "arrays": "const A = Array.prototype;A.push = A.map = A.reduce = A.slice = A.find = A[Symbol.iterator] = broken;",
    "timers": "setTimeout = setImmediate = queueMicrotask = process.nextTick = broken;",
    "objects": "Object.keys = Object.assign = Object.entries = Math.max = broken;",
}


@pytest.mark.parametrize("breaks", BREAKS.values(), ids=BREAKS)
async def test_a_function_that_replaces_what_nodejs_is_made_of_is_served_all_the_same(harness: Harness, breaks: str) -> None:
    source = (
        f"function broken() {{ throw new Error('replaced') }}\n{breaks}\n"
        "exports.handler = async (event, context) => {\n"
        "  console.log('said', 1);\n"
        "  if (event.fail) throw new RangeError('wanted');\n"
        "  return {event, left: context.getRemainingTimeInMillis() > 0};\n"
        "}"
    )
    async with harness.running(source, runtime=NODE) as function:
        for _ in range(2):
            assert await function.result({"a": "ü"}) == {"event": {"a": "ü"}, "left": True}
            assert (await function.error({"fail": True}))["errorType"] == "RangeError"
        assert bytes(function.output).count(b"said 1\n") == 4


async def test_a_function_that_replaces_the_end_of_processes_still_ends_at_an_error_nobody_took_care_of(
    harness: Harness,
) -> None:
    source = (
        "process.exit = process.abort = process.kill = () => {}; process.on('exit', () => { throw new Error('in the way') });\n"
        "exports.handler = () => new Promise(() => setTimeout(() => { throw new TypeError('late') }, 5))"
    )
    async with harness.running(source, runtime=NODE) as function:
        assert (await function.error())["errorType"] == "TypeError"
        assert isinstance(await function.invoke(), RuntimeExit)


async def test_what_watches_a_functions_calls_sees_none_of_the_runtimes(harness: Harness) -> None:
    source = (
        "const seen = []; const channels = require('diagnostics_channel');\n"
        "for (const name of ['http.client.request.start', 'http.client.request.created', 'net.client.socket'])\n"
        "  channels.subscribe(name, () => seen.push(name));\n"
        "const http = require('http'), request = http.request;\n"
        "http.request = (...args) => { seen.push('request'); return request(...args) };\n"
        "exports.handler = async () => [seen, Object.keys(http.globalAgent.sockets), globalThis.awslambda !== undefined]"
    )
    async with harness.running(source, runtime=NODE) as function:
        for _ in range(3):
            assert await function.result() == [[], [], True]


async def test_an_unhandled_rejection_is_logged_as_one_with_its_reason(harness: Harness) -> None:
    source = (
        "exports.handler = () => new Promise(() => {\n"
        "  Promise.reject(Object.assign(new RangeError('nobody'), {code: 'E_N', more: {a: 1}})); setTimeout(() => {}, 10000) })"
    )
    async with harness.running(source, runtime=NODE) as function:
        document = await function.error()
        assert (document["errorType"], document["errorMessage"]) == (
            "Runtime.UnhandledPromiseRejection",
            "RangeError: nobody",
        )
        (line,) = [line for line in bytes(function.output).decode().splitlines() if "\tERROR\t" in line]
    told = line.split("\t", 3)[3]
    assert told.startswith("Unhandled Promise Rejection \t{")
    logged = json.loads(told.partition("\t")[2])
    assert list(logged) == ["errorType", "errorMessage", "reason", "promise", "stack"]
    reason = logged["reason"]
    assert (reason["errorType"], reason["errorMessage"], reason["code"]) == ("RangeError", "nobody", "E_N")
    assert (reason["more"], reason["stack"][0]) == ({"a": 1}, "RangeError: nobody")


@pytest.mark.parametrize(
    ("files", "error_type", "message"),
    [
        (
            {"app.js": "require('./part')", "part.js": "require('missing-one')"},
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'missing-one'\nRequire stack:\n- /var/task/part.js\n- /var/task/app.js\n"
            "- /var/runtime/index.mjs",
        ),
        (
            {"app.mjs": "import 'missing-one'; export const handler = 1"},
            "Error",
            "Cannot find package 'missing-one' imported from /var/task/app.mjs",
        ),
        (
            {"app.mjs": "import './other.mjs'"},
            "Error",
            "Cannot find module '/var/task/other.mjs' imported from /var/task/app.mjs",
        ),
        (
            {"app.mjs": "import {nothing} from './other.mjs'", "other.mjs": ""},
            "Runtime.UserCodeSyntaxError",
            "SyntaxError: The requested module './other.mjs' does not provide an export named 'nothing'",
        ),
        ({"app.js": "throw Object.assign(new Error('of its own'), {code: 'ENOENT'})"}, "Error", "of its own"),
        ({"app.js": "throw null"}, "object", "null"),
        ({"app.js": "exports.handler = 0"}, "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
    ],
)
async def test_each_kind_of_failed_start_has_the_type_of_awss_client(
    harness: Harness, files: dict[str, str], error_type: str, message: str
) -> None:
    async with harness.running(files, runtime=NODE) as function:
        assert isinstance(function.ready, RuntimeExit)
        document = json.loads(function.ready.init_error or b"")
        assert (document["errorType"], document["errorMessage"]) == (error_type, message)
        assert f'Uncaught Exception \t{{"errorType":"{error_type}"' in bytes(function.output).decode()


async def test_a_handler_may_be_in_a_folder_and_end_in_nothing(harness: Harness) -> None:
    files = {"src/deep/app": "exports.nested = {handler: async () => __filename}"}
    async with harness.running(files, runtime=NODE, handler="src/deep/app.nested.handler") as function:
        assert await function.result() == "/var/task/src/deep/app"
    async with harness.running({"app.js": ""}, runtime=NODE, handler="../app.handler") as function:
        assert isinstance(function.ready, RuntimeExit)
        assert json.loads(function.ready.init_error or b"")["errorType"] == "Runtime.MalformedHandlerName"
