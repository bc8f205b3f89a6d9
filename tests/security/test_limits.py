"""Bounds of memory, processes, /tmp, descriptors and CPU, reached on purpose."""

from __future__ import annotations

import time

import pytest

from services.worker.sandbox import cgroups
from services.worker.sandbox.spec import RuntimeExit, RuntimeReady
from shared.domain.errors import ConfigurationError
from tests.integration.sandbox.harness import Harness


async def test_too_much_memory_is_reported_as_such_and_the_next_runtime_works(harness: Harness) -> None:
    source = "def handler(event, context):\n    return len(bytearray(event * 1024 * 1024))\n"
    async with harness.running(source, memory_mb=128) as function:
        assert await function.result(50) == 50 * 1024 * 1024
        end = await function.invoke(300)
        assert isinstance(end, RuntimeExit)
        assert (end.signal, end.out_of_memory) == ("killed", True)
        assert 120 <= function.sandbox.max_memory_bytes() / 1024**2 <= 128
        await function.sandbox.restart()
        assert isinstance(await function.initialised(), RuntimeReady)
        assert await function.result(10) == 10 * 1024 * 1024
        assert function.sandbox.max_memory_bytes() < 60 * 1024**2


async def test_a_fork_bomb_is_bounded_and_its_end_takes_everything_with_it(harness: Harness) -> None:
    source = (
        "import os\ndef handler(event, context):\n    started = 0\n    try:\n        while started < 5000:\n"
        "            os.posix_spawn('/bin/sleep', ['sleep', '1000'], {})\n            started += 1\n"
        "    except OSError as error:\n        return [started, error.errno]\n"
    )
    async with harness.running(source) as function:
        started, error = await function.result()
        assert started < 1_024
        assert error == 11
        await function.sandbox.kill_runtime()
        await function.sandbox.restart()
        assert isinstance(await function.initialised(), RuntimeReady)


async def test_tmp_holds_what_was_configured_and_no_more(harness: Harness) -> None:
    source = (
        "import os\ndef handler(event, context):\n    written = 0\n    try:\n        with open('/tmp/file', 'wb', 0) as file:\n"
        "            while written < 900:\n                file.write(bytes(1024 * 1024))\n                written += 1\n"
        "    except OSError as error:\n        os.unlink('/tmp/file')\n        return [written, error.errno, oct(os.stat('/tmp').st_mode)]\n"
    )
    for size in (16, 32):
        async with harness.running(source, tmp_mb=size) as function:
            written, error, mode = await function.result()
            assert abs(written - size) <= 1
            assert (error, mode) == (28, "0o41777")


async def test_process_limits_are_as_recorded_from_aws(harness: Harness) -> None:
    source = "import resource as r\ndef handler(event, context):\n    return {n: r.getrlimit(getattr(r, n)) for n in event}\n"
    async with harness.running(source) as function:
        limits = await function.result(
            ["RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_MEMLOCK", "RLIMIT_STACK", "RLIMIT_AS", "RLIMIT_CORE"]
        )
    assert limits == {
        "RLIMIT_NOFILE": [1_024, 1_024],
        "RLIMIT_NPROC": [742, 742],
        "RLIMIT_MEMLOCK": [65_536, 65_536],
        "RLIMIT_STACK": [8_388_608, -1],
        "RLIMIT_AS": [-1, -1],
        "RLIMIT_CORE": [10_737_418_240, 10_737_418_240],
    }


async def test_a_small_function_gets_its_share_of_a_core_but_initialises_at_full_speed(harness: Harness) -> None:
    burn = "import time\ndef burn(seconds):\n    end = time.process_time() + seconds\n    while time.process_time() < end:\n        pass\n"
    source = burn + "began = time.monotonic()\nburn(0.2)\ninit = time.monotonic() - began\n"
    source += "def handler(event, context):\n    began = time.monotonic()\n    burn(0.05)\n    return [init, time.monotonic() - began]\n"
    async with harness.running(source, memory_mb=128) as function:
        init, handler = await function.result()
    assert handler > 0.05 * 1_769 / 128 * 0.6
    assert init < 0.2 * 1_769 / 128 * 0.6


async def test_a_function_that_prints_without_end_does_not_stop_the_worker(harness: Harness) -> None:
    source = (
        "import threading\ndef flood():\n    while True:\n        print('x' * 1000)\n"
        "def handler(event, context):\n    threading.Thread(target=flood, daemon=True).start()\n    return 1\n"
    )
    async with harness.running(source) as function, harness.running("def handler(e, c):\n    return e\n") as other:
        assert await function.result() == 1
        began = time.monotonic()
        for number in range(20):
            assert await other.result(number) == number
        assert time.monotonic() - began < 5
        function.output.clear()


@pytest.mark.parametrize("missing", ["memory", "cpu", "pids"])
async def test_a_host_without_a_controller_is_refused_unless_the_operator_allows_it(
    missing: str, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = cgroups.find_parents()
    less = {controller: parent for controller, parent in found.items() if controller != missing}
    monkeypatch.setattr(cgroups, "find_parents", lambda: (less, {missing: "no cgroup hierarchy here has this controller"}))
    with pytest.raises(ConfigurationError, match="ALLOW_MISSING_LIMITS"):
        cgroups.CgroupTree()
    tree = cgroups.CgroupTree([missing])
    cgroup = tree.create(f"without-{missing}")
    cgroup.set_memory_mb(128)
    cgroup.set_cpu(128)
    cgroup.reset_peak()
    assert cgroup.remove()
