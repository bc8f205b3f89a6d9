"""What a Java function must not be able to do with what Java brings along: attaching, performance data, what a crash leaves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from services.worker.sandbox.spec import RuntimeExit
from tests.integration.sandbox.harness import Harness, processes_of
from tests.java import packages

JAVA = "java21"
HANDLER = "hostile.Machine"
SECRET = "LAMBDAD_TEST_SECRET"
THREAD_DUMP = b"Full thread dump"
"""What a machine prints that is sent the signal which begins an attachment, and finds no file that asks for one."""
SHARED_FILES = (
    "/.lambdad/classes.jsa", "/var/runtime/lib/lambdad-start.jar", "/var/lang/lib/modules", "/var/lang/lib/server/libjvm.so",
    "/var/task/hs_err_pid1.log", "/var/task/core",
)  # fmt: skip
pytestmark = pytest.mark.needs(JAVA)


async def test_other_machines_of_the_host_cannot_be_seen_attached_to_or_changed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside it run another function's, and one that waits for its function."""
    monkeypatch.setenv(SECRET, "must not be seen")
    package = packages.classes()
    with tempfile.NamedTemporaryFile(prefix=".java_pid"):
        async with (
            harness.running(package, runtime=JAVA, handler=f"{HANDLER}::look") as looks,
            harness.running(package, runtime=JAVA, handler=f"{HANDLER}::attach") as attaches,
            harness.running(package, runtime=JAVA, handler=f"{HANDLER}::write") as writes,
        ):
            found = await looks.result({})
            others = [process.pid for victim in (looks, writes) for process in processes_of(victim.sandbox.uid)]
            attached = await attaches.result([1, *others])
            written = await writes.result(list(SHARED_FILES))
            assert (await looks.result({}))["own"] == found["own"], "it runs on"
            victims = [looks.output, writes.output]
    own = found["own"]
    assert found["processes"] in ([own], [1, own])
    assert found["machines"] == [str(own)]
    assert [name for name in found["tmp"] if not name.endswith(f"/{own}")] == []
    everything = str(found["texts"])
    assert "must not be seen" not in everything
    assert str(Path(__file__).parents[2]) not in everything
    links = set(found["descriptors"]) - {"NoSuchFileException"}  # Those that it listed them by.
    assert not [link for link in links if not link.startswith(("pipe:", "socket:", "anon_inode:", "/dev/", "/var/"))]
    assert len(others) == 2
    assert set(attached) <= {"AttachNotSupportedException", "IOException"}
    assert set(written.values()) <= {"FileSystemException", "AccessDeniedException"}, written
    assert not [output for output in victims if THREAD_DUMP in output]


async def test_a_machine_that_crashes_leaves_its_report_in_the_log_and_no_file(harness: Harness) -> None:
    async with harness.running(packages.class_of(HANDLER), runtime=JAVA, handler=f"{HANDLER}::crash") as function:
        end = await function.invoke(True)
        assert isinstance(end, RuntimeExit)
        assert end.signal == "aborted"
        assert b"SIGSEGV" in function.output
        await function.restart()
        tmp, task = await function.result(False)
    assert [name for name in tmp if not name.startswith("/tmp/hsperfdata_")] == []
    assert {name.removeprefix("/var/task/") for name in task} == set(packages.class_of(HANDLER))
