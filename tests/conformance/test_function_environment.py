"""What functions find around them is what AWS's find: every entry of function_environment.yaml has a check here, in every runtime
that this machine has."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from services.frontend.apis.lambda_.environment import RESERVED
from services.worker.sandbox.spec import RuntimeResponse
from tests.conformance.facts import RECORDED
from tests.integration.sandbox.harness import Harness, harness
from tests.java import packages
from tests.needs import each, first_here, offered

__all__ = ["harness"]

PYTHONS, NODES, RUBIES, JAVAS = (offered(family) for family in ("python", "nodejs", "ruby", "java"))
ONE_OF_EACH = [first_here(*reversed(family)) for family in (PYTHONS, NODES, RUBIES)]
JAVA = first_here("java21", *reversed(JAVAS))
CUSTOM = ["provided.al2", "provided.al2023"]
PLACES = {
    "<ip>": "169.254.100.1",
    "<region>": "us-east-1",
    "<fn>": "fn",
    "<log-stream>": "2026/01/01/[$LATEST]abc",
    "<key-id>": "AKID",
    "<secret>": "SECRET",
    "<token>": "TOKEN",
    "<trace-header>": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
}
HANDLER = "app.handler"
HANDLERS = {"java": "example.Functions::everything"}
NOT_HERE = {"NODE_EXTRA_CA_CERTS": "Amazon's own authorities are not trusted here: Node.js has a list of its own"}
"""Variables that AWS's functions have, with the reason why ours do not."""
TELL = {
    "python": ("app.py", "import os\ndef handler(event, context):\n    return dict(os.environ, cwd=os.getcwd())\n"),
    "nodejs": ("app.js", "exports.handler = async () => ({ ...process.env, cwd: process.cwd() });\n"),
    "ruby": ("app.rb", "def handler(event:, context:) = ENV.to_h.merge(cwd: Dir.pwd)\n"),
    "provided": (
        "bootstrap",
        """#!/usr/bin/python3
import http.client, json, os
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    answer.read()
    seen = dict(pair.split("=", 1) for pair in open("/proc/self/environ").read().split("\\0") if pair)
    path = "/2018-06-01/runtime/invocation/" + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    api.request("POST", path, body=json.dumps(dict(seen, cwd=os.getcwd())))
    api.getresponse().read()
""",
    ),
}


@functools.cache
def facts() -> dict[str, Any]:
    entries = yaml.safe_load((RECORDED / "function_environment.yaml").read_text())
    return {entry["id"]: entry["then"] for entry in entries}


def filled(text: str) -> str:
    return functools.reduce(lambda value, place: value.replace(place, PLACES[place]), PLACES, text)


def family(runtime: str) -> str:
    found = re.match(r"[a-z]+", runtime)
    assert found is not None
    return found[0]


def kernel(runtime: str) -> Mapping[str, str | bytes]:
    if family(runtime) == "java":
        return packages.classes()
    file, source = TELL[family(runtime)]
    return {file: source}


async def seen(harness: Harness, runtime: str, *, layers: Mapping[str, str] | None = None, **options: Any) -> dict[str, str]:
    """Every variable that a function of this runtime sees, and its folder as `cwd`."""
    files = {**kernel(runtime), **options.pop("files", {})}
    options.setdefault("handler", HANDLERS.get(family(runtime), HANDLER))
    async with harness.running(files, runtime=runtime, memory_mb=128, layers=layers, **options) as function:
        answer: dict[str, str] = await function.result({}, trace=PLACES["<trace-header>"])
        return answer


@functools.cache
def recorded() -> dict[str, str]:
    """Of a python3.14 function whose handler is app.handler."""
    env = {name: filled(value) for name, value in facts()["env-python314-complete"]["env"].items()}
    return env | {"_HANDLER": HANDLER}


@each(*PYTHONS)
async def test_a_python_function_sees_the_recorded_variables_and_no_others(harness: Harness, runtime: str) -> None:
    found = await seen(harness, runtime)
    assert found.pop("cwd") == facts()["env-working-directory"]["cwd"]
    assert found == recorded() | {"AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}"}
    assert not set(facts()["env-absent-variables"]["absent"]) & set(found)


@each(*NODES, *RUBIES)
async def test_other_managed_runtimes_see_the_same_but_for_their_languages_own(harness: Harness, runtime: str) -> None:
    found = await seen(harness, runtime)
    assert found.pop("cwd") == "/var/task"
    expected = {name: value for name, value in recorded().items() if name not in ("LC_CTYPE", "PYTHONPATH")}
    expected["AWS_EXECUTION_ENV"] = facts()["env-execution-env-names"]["pattern"].replace("<runtime identifier>", runtime)
    if family(runtime) == "nodejs":
        own = {name: value.replace("<major>", runtime[6:8]) for name, value in facts()["env-nodejs"]["env"].items()}
        assert set(own) & set(NOT_HERE) == set(NOT_HERE)
        expected |= {name: value for name, value in own.items() if name not in NOT_HERE}
    else:
        gems = facts()["env-ruby"]["env"]["GEM_PATH"].replace("<major.minor>", runtime.removeprefix("ruby"))
        version = runtime.removeprefix("ruby")
        expected["GEM_PATH"] = f"{gems}:/var/runtime:/var/runtime/ruby/{version}.0"
        assert "/opt/ruby/lib" in found["RUBYLIB"].split(":")
        expected["RUBYLIB"] = found["RUBYLIB"]
    assert found == expected


@each(*JAVAS)
async def test_java_sees_the_same_but_for_what_its_client_reads(harness: Harness, runtime: str) -> None:
    found = await seen(harness, runtime)
    assert found.pop("cwd") == "/var/task"
    expected = {name: value for name, value in recorded().items() if name not in ("LC_CTYPE", "PYTHONPATH")}
    expected |= {"AWS_EXECUTION_ENV": f"AWS_Lambda_{runtime}", "_HANDLER": HANDLERS["java"]}
    assert facts()["env-trace-id"]["java17_and_later"].startswith("not in the environment; system property")
    if runtime != "java11":
        del expected["_X_AMZN_TRACE_ID"]
        # The clients of other languages take it away when they have read it; in Java nothing can.
        expected["_LAMBDA_TELEMETRY_LOG_FD"] = found["_LAMBDA_TELEMETRY_LOG_FD"]
        assert found["_LAMBDA_TELEMETRY_LOG_FD"].isdecimal()
    assert found == expected


@each(*CUSTOM)
async def test_a_custom_runtime_sees_what_is_not_a_languages(harness: Harness, runtime: str) -> None:
    found = await seen(harness, runtime, handler="whatever form", variables={"Hello": "World"})
    assert facts()["env-provided"]["AWS_EXECUTION_ENV"] == "not set"
    languages = ("AWS_EXECUTION_ENV", "LC_CTYPE", "PYTHONPATH", "_X_AMZN_TRACE_ID")
    assert facts()["env-trace-id"]["provided"] == "not set until the runtime sets it"
    expected = {name: value for name, value in recorded().items() if name not in languages}
    assert found == expected | facts()["env-user-variables"]["env"] | {"_HANDLER": "whatever form", "cwd": "/var/task"}


@each(*ONE_OF_EACH, JAVA, CUSTOM[1])
async def test_log_settings_are_told_where_the_function_has_some(harness: Harness, runtime: str) -> None:
    names = facts()["env-log-settings"]["env"]
    found = await seen(harness, runtime, log_format="JSON")
    assert found["AWS_LAMBDA_LOG_FORMAT"] == names["AWS_LAMBDA_LOG_FORMAT"]
    assert found["AWS_LAMBDA_LOG_LEVEL"] in re.findall(r"[A-Z]+", names["AWS_LAMBDA_LOG_LEVEL"])


@each(*ONE_OF_EACH, JAVA, CUSTOM[1])
async def test_functions_set_the_variables_that_are_not_reserved_and_no_others(harness: Harness, runtime: str) -> None:
    free = facts()["env-unreserved-keys"]["unreserved"]
    # What programs read when they start, or find their libraries by, has to make sense.
    values = dict.fromkeys(free, "mine") | {"PATH": "/usr/bin:/bin:/var/lang/bin", "LD_LIBRARY_PATH": "/opt/lib", "TZ": ":UTC"}
    values |= {"NODE_OPTIONS": "--no-deprecation", "LANG": "C.UTF-8"}
    found = await seen(harness, runtime, variables=values)
    assert {name: found[name] for name in free} == values
    assert set(facts()["env-reserved-keys"]["reserved"]) == set(RESERVED)


@each(*PYTHONS, *NODES, *RUBIES, JAVA)
async def test_a_wrapper_of_a_managed_runtime_starts_it(harness: Harness, runtime: str) -> None:
    assert facts()["env-exec-wrapper"]["function_sees"] == "the exported variable"
    wrapper = '#!/bin/sh\nexport FROM_WRAPPER=yes ARGUMENTS=$#\nexec "$@"\n'
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}
    found = await seen(harness, runtime, files={"wrapper": wrapper}, variables=variables)
    assert (found.pop("FROM_WRAPPER"), int(found.pop("ARGUMENTS")) >= 2) == ("yes", True)
    # The interpreter that the wrapper starts has the same variables, but for what shells add.
    plain = await seen(harness, runtime, variables={"AWS_LAMBDA_EXEC_WRAPPER": ""})
    shell = ("_", "OLDPWD", "SHLVL", "AWS_LAMBDA_EXEC_WRAPPER")
    assert {name: found[name] for name in found if name not in shell} == {n: plain[n] for n in plain if n not in shell}


@each(CUSTOM[1])
async def test_a_wrapper_of_a_custom_runtime_is_not_used(harness: Harness, runtime: str) -> None:
    assert facts()["env-exec-wrapper-provided"]["used"] is False
    wrapper = '#!/bin/sh\nexport FROM_WRAPPER=yes\nexec "$@"\n'
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"}
    assert "FROM_WRAPPER" not in await seen(harness, runtime, files={"wrapper": wrapper}, variables=variables)


@each(*ONE_OF_EACH)
async def test_the_trace_header_is_in_the_environment_of_each_invocation(harness: Harness, runtime: str) -> None:
    pattern = facts()["env-trace-id"]["pattern"]
    assert pattern.startswith("Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=<0|1>")
    async with harness.running(kernel(runtime), runtime=runtime) as function:
        for digit in "01":
            trace = f"Root=1-{digit * 8}-{digit * 24};Parent={digit * 16};Sampled={digit}"
            assert (await function.result({}, trace=trace))["_X_AMZN_TRACE_ID"] == trace


async def test_folders_belong_to_root_and_have_awss_modes(harness: Harness) -> None:
    source = (
        "import os, stat\ndef handler(event, context):\n"
        "    found = {path: os.stat(path) for path in event}\n"
        "    return {p: f'{stat.filemode(s.st_mode)} {s.st_uid}:{s.st_gid}' for p, s in found.items()}\n"
    )
    expected = facts()["env-directories"]
    async with harness.running(source, layers={"bin/nothing": ""}) as function:
        assert await function.result(list(expected)) == expected


LAYERED = {
    "python": (
        "import os, shutil\n"
        "import of_python, of_version\n"
        "def handler(event, context):\n"
        "    return [of_python.FROM, of_version.FROM, shutil.which('program'), os.path.isdir('/opt/extensions')]\n"
    ),
    "nodejs": (
        "const fs = require('fs');\nconst { execFileSync } = require('child_process');\n"
        "exports.handler = async () => [require('common').from, require('versioned').from,\n"
        "  execFileSync('sh', ['-c', 'command -v program']).toString().trim(), fs.existsSync('/opt/extensions')];\n"
    ),
    "ruby": (
        "require 'of_gem'\nrequire 'of_lib'\n"
        "def handler(event:, context:) = [OF_GEM, OF_LIB, `sh -c 'command -v program'`.strip, File.directory?('/opt/extensions')]\n"
    ),
}


def layer(runtime: str) -> dict[str, str]:
    """A layer with something in every folder that is searched for this runtime; by the documented names of the folders."""
    folders = list(facts()["layer-paths"])
    found = {"bin/program": "#!/bin/sh\n", "lib/nothing.so": "", "extensions/README": ""}
    if family(runtime) == "python":
        assert {"python/", "python/lib/python3.<x>/site-packages/"} <= set(folders)
        return found | {
            "python/of_python.py": "FROM = 'python'\n",
            f"python/lib/{runtime}/site-packages/of_version.py": "FROM = 'of this version'\n",
        }
    if family(runtime) == "nodejs":
        assert {"nodejs/node_modules/", "nodejs/node<major>/node_modules/"} <= set(folders)
        return found | {
            "nodejs/node_modules/common/index.js": "exports.from = 'nodejs';\n",
            f"nodejs/node{runtime[6:8]}/node_modules/versioned/index.js": "exports.from = 'of this version';\n",
        }
    assert {"ruby/gems/<version>.0/", "ruby/lib/"} <= set(folders)
    gems = f"ruby/gems/{runtime.removeprefix('ruby')}.0"
    specification = (
        "Gem::Specification.new { |s| s.name = 'of_gem'; s.version = '1.0'; s.require_paths = ['lib']; s.summary = 'x'; "
        "s.authors = ['x'] }\n"
    )
    return found | {
        f"{gems}/gems/of_gem-1.0/lib/of_gem.rb": "OF_GEM = 'ruby'\n",
        f"{gems}/specifications/of_gem-1.0.gemspec": specification,
        "ruby/lib/of_lib.rb": "OF_LIB = 'of this version'\n",
    }


@each(*PYTHONS, *NODES, *RUBIES)
async def test_every_folder_of_a_layer_is_found_by_who_looks_there(harness: Harness, runtime: str) -> None:
    file = TELL[family(runtime)][0]
    async with harness.running({file: LAYERED[family(runtime)]}, runtime=runtime, layers=layer(runtime)) as function:
        assert await function.result({}) == [family(runtime), "of this version", "/opt/bin/program", True]


async def test_a_custom_runtime_may_be_a_layers(harness: Harness) -> None:
    assert "bootstrap" in facts()["layer-paths"]
    layers = harness.write({"bootstrap": TELL["provided"][1]})
    async with harness.running({"nothing": ""}, runtime=CUSTOM[1], layers=layers) as function:
        end = await function.invoke({})
        assert isinstance(end, RuntimeResponse)


def test_every_entry_has_a_check() -> None:
    """By the name in this file's own text."""
    source = Path(__file__).read_text()
    # The order of layers takes a worker that merges them: tests/e2e/test_layers.py.
    elsewhere = {"layer-order"}
    assert [name for name in facts() if name not in elsewhere and f'facts()["{name}"]' not in source] == []
