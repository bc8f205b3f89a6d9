"""Where functions find things: as in AWS's runtimes, whatever the host calls its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.sandbox.mounts import LIBRARY_PATH
from services.worker.sandbox.spec import RuntimeReady
from tests.integration.sandbox.harness import Harness
from tests.integration.sandbox.test_provided import BOOTSTRAP
from tests.support import NODE, PYTHON

PYTHONS = [
    pytest.param(runtime, marks=pytest.mark.needs(runtime))
    for runtime in ("python3.8", "python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14")
]
LOAD = """
import ctypes
def handler(event, context):
    try:
        ctypes.CDLL(event)
        return "loaded"
    except OSError as error:
        return str(error)
"""


@pytest.fixture(scope="module")
def library() -> bytes:
    """Any shared library, which functions do not find by the names that it is given here."""
    found = sorted(Path("/usr/lib").glob("*/libz.so.1")) + sorted(Path("/usr/lib64").glob("libz.so.1"))
    if not found:
        pytest.skip("no libz here")
    return found[0].read_bytes()


@pytest.mark.parametrize("runtime", PYTHONS)
async def test_the_interpreter_is_in_var_lang_and_the_client_in_var_runtime(harness: Harness, runtime: str) -> None:
    source = """
import os, subprocess, sys, traceback
def handler(event, context):
    own = [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.executable, os.__file__, os.readlink("/proc/self/exe")]
    child = [sys.executable, "-c", "import sys, os; print(sys.prefix, os.__file__)"]
    child = subprocess.run(child, env={}, capture_output=True, check=True).stdout.decode().split()
    return [own + child, sys.path, [frame.filename for frame in traceback.extract_stack()], open("/proc/self/cmdline").read()]
"""
    async with harness.running(source, runtime=runtime) as function:
        own, path, stack, command = await function.result()
    assert all(place.startswith("/var/lang") for place in own), own
    assert all(place.startswith(("/var/task", "/var/runtime", "/var/lang", "/opt")) for place in path), path
    assert all(place.startswith(("/var/task/", "/var/runtime/", "/var/lang/")) for place in stack), stack
    assert command.startswith(f"/var/lang/bin/{runtime}\0")
    assert str(Path(__file__).parents[3]) not in command


@pytest.mark.parametrize("runtime", PYTHONS)
async def test_tracebacks_have_the_paths_of_aws(harness: Harness, runtime: str) -> None:
    async with harness.running(
        "def handler(event, context):\n    __import__('json').loads('{')\n", runtime=runtime
    ) as function:
        document = await function.error()
        output = bytes(function.output).decode()
    places = [line.strip().split('"')[1] for line in document["stackTrace"]]
    assert places[0] == "/var/task/app.py"
    assert set(places[1:]) == {f"/var/lang/lib/{runtime}/json/__init__.py", f"/var/lang/lib/{runtime}/json/decoder.py"}
    assert "/var/lang/lib" in output


@pytest.mark.needs(NODE)
async def test_node_is_in_var_lang_bin(harness: Harness) -> None:
    source = "exports.handler = async () => [process.execPath, process.argv, new Error().stack]"
    async with harness.running(source, runtime=NODE) as function:
        path, arguments, _stack = await function.result()
    assert path == "/var/lang/bin/node"
    assert arguments == ["/var/lang/bin/node", "/var/runtime/bootstrap.mjs"]


@pytest.mark.parametrize("runtime", PYTHONS)
@pytest.mark.parametrize("place", ["code", "code's lib", "layer"])
async def test_libraries_of_code_and_layers_are_found_by_name(
    harness: Harness, library: bytes, runtime: str, place: str
) -> None:
    files: dict[str, str | bytes] = {"app.py": LOAD}
    layers: dict[str, str | bytes] | None = None
    if place == "layer":
        layers = {"lib/libonlyhere.so": library}
    else:
        files["libonlyhere.so" if place == "code" else "lib/libonlyhere.so"] = library
    async with harness.running(files, runtime=runtime, layers=layers) as function:
        assert await function.result("libonlyhere.so") == "loaded"
        assert "No such file" in await function.result("libnowhere.so")


@pytest.mark.needs(NODE)
async def test_libraries_of_a_layer_are_found_by_nodes_loader(harness: Harness, library: bytes) -> None:
    source = """
exports.handler = async event => {
  try { process.dlopen({exports: {}}, event); } catch (error) { return error.message; }
}
"""
    async with harness.running(source, runtime=NODE, layers={"lib/libonlyhere.so": library}) as function:
        assert "did not self-register" in await function.result("libonlyhere.so")  # found, and no addon
        assert "No such file" in await function.result("libnowhere.so")


@pytest.mark.parametrize("runtime", [PYTHON, pytest.param(NODE, marks=pytest.mark.needs(NODE))])
async def test_a_function_may_name_other_folders_of_libraries(harness: Harness, library: bytes, runtime: str) -> None:
    load = (
        "exports.handler = async e => { try { process.dlopen({ exports: {} }, e); } catch (error) { return error.message; } }"
    )
    files: dict[str, str | bytes] = {"app.js": load} if runtime == NODE else {"app.py": LOAD}
    files["own/libonlyhere.so"] = library
    variables = {"LD_LIBRARY_PATH": f"/var/task/own:{LIBRARY_PATH}"}
    async with harness.running(files, runtime=runtime, variables=variables) as function:
        assert isinstance(function.ready, RuntimeReady)
        answer = await function.result("libonlyhere.so")
    assert "loaded" in answer or "did not self-register" in answer


@pytest.mark.parametrize("runtime", PYTHONS)
@pytest.mark.parametrize("why", ["wrapper", "libraries"])
async def test_a_runtime_that_is_executed_for_a_function_finds_what_a_forked_one_does(
    harness: Harness, runtime: str, why: str
) -> None:
    source = "import sys, inlayer\ndef handler(event, context):\n    return [sys.path, sys.argv, inlayer.NAME, sys.prefix]\n"
    layers = {"python/inlayer.py": "NAME = 'a layer'\n"}
    # As AWS shows it: options for the interpreter before the last argument.
    wrapper = '#!/bin/bash\nargs=("$@")\nexec "${args[@]:0:$#-1}" -X faulthandler "${args[@]: -1}"\n'
    files = {"app.py": source, "wrapper": wrapper}
    variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"} if why == "wrapper" else {"LD_LIBRARY_PATH": "/opt/lib"}
    async with harness.running(files, runtime=runtime, layers=layers) as forked:
        expected = await forked.result()
    async with harness.running(files, runtime=runtime, layers=layers, variables=variables) as executed:
        assert isinstance(executed.ready, RuntimeReady), bytes(executed.output)
        assert await executed.result() == expected
    assert expected[1:] == [["/var/runtime/bootstrap.py"], "a layer", "/var/lang"]


async def test_a_prepared_runtime_was_executed_with_nothing_but_the_library_path(harness: Harness) -> None:
    source = "def handler(event, context):\n    return open('/proc/self/environ').read()\n"
    async with harness.running(source) as function:
        assert await function.result() == f"LD_LIBRARY_PATH={LIBRARY_PATH}\0"


async def test_opt_is_empty_without_layers(harness: Harness) -> None:
    source = "import os\ndef handler(event, context):\n    return [os.listdir('/opt'), sorted(os.listdir('/var/task'))]\n"
    async with harness.running(source) as function:
        assert await function.result() == [[], ["app.py"]]


BASH = """#!/bin/sh
set -euo pipefail
cat > /tmp/more <<< 'words=(one two); export ANSWER="${words[1]} $BASH_VERSION"'
source /tmp/more
[[ $ANSWER == two* ]]
exec /var/task/program
"""
PROGRAM = BOOTSTRAP.replace('os.environ["_HANDLER"].encode() + body', 'b"\\"%s\\"" % os.environ["ANSWER"].encode()')


async def test_the_shell_is_bash(harness: Harness) -> None:
    files = {"bootstrap": BASH, "program": PROGRAM}
    async with harness.running(files, runtime="provided.al2023") as function:
        assert isinstance(function.ready, RuntimeReady), bytes(function.output)
        assert (await function.result()).startswith("two ")


async def test_the_entrypoint_of_images_is_there(harness: Harness) -> None:
    source = """
import os, subprocess
def handler(event, context):
    found = os.stat("/lambda-entrypoint.sh")
    usage = subprocess.run("/lambda-entrypoint.sh", capture_output=True)
    shell = os.path.realpath("/bin/sh")
    return [oct(found.st_mode), found.st_uid, found.st_gid, usage.returncode, shell]
"""
    async with harness.running(source) as function:
        mode, uid, gid, status, shell = await function.result()
    assert (mode, uid, gid, status) == ("0o100755", 0, 0, 142)
    assert Path(shell).name == "bash"


async def test_an_interpreters_own_path_leads_to_var_lang(harness: Harness) -> None:
    """For what was built with it: libraries that the loader looks for there, scripts that begin with it."""
    prefix = str(harness.pool.catalogue.recipe(PYTHON).language_root)
    source = "import os\ndef handler(event, context):\n    return os.path.realpath(event)\n"
    async with harness.running(source) as function:
        assert await function.result(prefix) == (prefix if prefix.startswith("/usr") else "/var/lang")
