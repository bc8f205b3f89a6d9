"""Files that many functions share show none of them what another, or the host, does; and no file shows what the host is and has."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.worker.pool import SandboxPool
from shared.settings import Settings
from tests.integration.sandbox.harness import Harness, processes_of
from tests.security.test_isolation import probe
from tests.support import PYTHON

SHARED = [
    "/",
    "/etc",
    "/etc/hosts",
    "/dev/null",
    "/usr/bin",
    "/var/lang/bin",
    "/var/runtime",
    "/var/task",
    "/opt",
    "/proc/self/fd/0",
]

WATCHER = probe("""
    global watch
    if event == "watch":
        watch = libc.inotify_init1(os.O_NONBLOCK)
        return [libc.inotify_add_watch(watch, path.encode(), 0xFFF) >= 0 for path in SHARED]
    if event == "use":
        for path in SHARED:
            if os.path.isdir(path):
                os.listdir(path)
            else:
                open(path).close()
        subprocess.run(["/bin/sh", "-c", "true"], check=True)
    try:
        return len(os.read(watch, 65536))
    except OSError as error:
        return errno.errorcode[error.errno]
""").replace("def handler", f"watch = -1\nSHARED = {SHARED!r}\ndef handler")

LOCKER = probe("""
    global held
    found = {}
    for path in [path for path in SHARED if path != "/dev/null"] + ["/proc/self/exe"]:  # /proc/self/fd/0 is that
        try:
            file = os.open(path, os.O_RDONLY)
        except OSError as error:
            found[path] = errno.errorcode[error.errno]
            continue
        # Two of these paths are one folder where the interpreter is the system's: its lock is held by then.
        if not any(os.path.sameopenfile(file, other) for other in held):
            found[path] = attempt(__import__("fcntl").flock, file, 6)  # LOCK_EX | LOCK_NB
            held.append(file)
    return found
""").replace("def handler", f"held = []\nSHARED = {SHARED!r}\ndef handler")


async def test_what_others_open_cannot_be_watched(harness: Harness) -> None:
    async with harness.running(WATCHER) as one, harness.running(WATCHER) as other:
        assert await one.result("watch") == [True] * len(SHARED)
        assert await other.result("use") == "EBADF"
        for path in ("/", "/etc", "/etc/hosts", "/dev/null", "/usr/bin", "/usr/bin/env"):
            os.close(os.open(path, os.O_RDONLY))
        assert await one.result() == "EAGAIN"  # nothing was seen
        assert await one.result("use") > 0  # and what it does itself is


async def test_nobody_can_be_signalled_by_the_lock_of_a_file(harness: Harness) -> None:
    """Neither another function, nor another environment of the same one, nor a process of the host."""
    ours = os.open("/usr/bin", os.O_RDONLY)
    fcntl.flock(ours, fcntl.LOCK_EX)
    try:
        async with harness.running(LOCKER) as one, harness.running(LOCKER) as other:
            for function in (one, other):
                found = await function.result()
                # The interpreter's own file is the zygote's, which all its forks share: it cannot be opened.
                assert found.pop("/proc/self/exe") == "EACCES"
                assert set(found.values()) == {"allowed"}, found
                assert len(found) >= len(SHARED) - 2
    finally:
        os.close(ours)


async def test_environments_of_one_version_do_not_share_its_files_either(harness: Harness) -> None:
    tree = harness.write({"app.py": LOCKER})
    async with harness.running(tree) as one, harness.running(tree) as other:
        assert (await one.result())["/var/task"] == (await other.result())["/var/task"] == "allowed"


@pytest.mark.parametrize("table", ["mountinfo", "mounts", "mountstats"])
async def test_mount_tables_name_no_path_of_the_host(harness: Harness, table: str) -> None:
    source = probe(f"return open('/proc/self/{table}').read() if os.access('/proc/self/{table}', os.R_OK) else ''")
    tree = harness.write({"app.py": source})
    layers = harness.write({"data": ""})
    checkout = Path(__file__).parents[2]
    async with harness.running(tree, layers=layers) as function:
        text = await function.result()
    for path in (tree, layers, checkout, Path(sys.base_prefix), Path.home() / ".pyenv"):
        # Of /usr and the like there is nothing to hide.
        assert str(path) not in text or path.is_relative_to("/usr")
    assert tree.name not in text


async def test_what_a_program_has_mapped_is_named_as_the_function_sees_it(harness: Harness) -> None:
    source = probe("""
        lines = subprocess.run(["/bin/cat", "/proc/self/maps"], check=True, capture_output=True, text=True).stdout.splitlines()
        return sorted({line.split(None, 5)[5] for line in lines if "/" in line})
    """)
    async with harness.running(source) as function:
        named = await function.result()
    assert "/usr/bin/cat" in named or "/bin/cat" in named
    assert [path for path in named if not path.startswith(("/usr/", "/bin/", "/lib"))] == []


@pytest.fixture
def one_file_system(harness: Harness) -> None:
    """Where the host's root, /usr, the interpreter and its runtime client are on one that is no overlay."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {line[4]: line[line.index("-") + 1] for line in lines}
    recipe = harness.pool.catalogue.recipe(PYTHON)
    needed = [os.path.realpath(path) for path in ("/usr", str(recipe.language_root), *map(str, recipe.runtime_dirs))]
    on_others = any((path + "/").startswith(point + "/") for path in needed for point in kinds if point != "/")
    if on_others or kinds.get("/", "overlay") == "overlay":
        pytest.skip("the host's root is an overlay itself, or what is shown of it is on several file systems")


@pytest.mark.usefixtures("one_file_system")
async def test_a_sandbox_has_a_file_system_for_its_root_and_one_for_its_code(harness: Harness) -> None:
    """And devices in /dev alone. For every file system the kernel keeps something in every control group of memory."""
    source = probe("return [line.split() for line in open('/proc/self/mountinfo')]")
    async with harness.running(source) as function:
        mounts = [line for line in await function.result() if line[line.index("-") + 1] == "overlay"]
    assert len({line[2] for line in mounts}) == 2
    with_devices = {line[4] for line in mounts if "nodev" not in line[5].split(",")}
    assert {path for path in with_devices if not path.startswith("/proc/")} == {"/dev"}
    assert {line[5].split(",")[0] for line in mounts} == {"ro"}


@pytest.mark.usefixtures("one_file_system")
async def test_nothing_else_of_the_host_is_in_the_mount_table_of_a_sandbox(harness: Harness) -> None:
    """Beyond what it calls its root, too: the host's whole root, which the overlay is made of, and the whole of the overlay."""
    shell = ["/usr/bin/nsenter", "-m", "-t", "", "/usr/bin/bash", "-c", "cd /.own/host && echo *; cd /.sandbox && echo .*"]
    async with harness.running("def handler(event, context): ...") as function:
        (process,) = processes_of(function.sandbox._slot.uid)
        shell[3] = str(process.pid)
        done = await asyncio.to_thread(subprocess.run, shell, check=True, capture_output=True, text=True, timeout=10)
    seen = done.stdout.splitlines()
    assert seen[0] == "*"
    assert ".lambdad" in seen[1].split()
    assert ".root" not in seen[1].split()


async def test_figures_of_the_whole_host_are_not_shown(harness: Harness) -> None:
    source = probe("""
        figures = {name: open("/proc/" + name).read() for name in (
            "meminfo", "stat", "loadavg", "diskstats", "vmstat", "swaps", "partitions", "cgroups", "softirqs", "schedstat",
            "zoneinfo", "buddyinfo", "sys/fs/file-nr", "sys/fs/inode-nr", "sys/fs/aio-nr", "interrupts",
        ) if os.path.exists("/proc/" + name)}
        figures["pressure"] = os.listdir("/proc/pressure") if os.path.exists("/proc/pressure") else []
        return figures
    """)
    async with harness.running(source, memory_mb=256) as function:
        seen = await function.result()
    memory = dict(line.split(":") for line in seen.pop("meminfo").splitlines())
    assert memory["MemTotal"].split() == ["262144", "kB"]
    assert seen["loadavg"].startswith("0.00 0.00 0.00 ")
    assert {line.split()[2] for line in seen["cgroups"].splitlines()[1:]} <= {"1"}
    processors = [line.split() for line in seen["stat"].splitlines() if line.startswith("cpu")]
    assert len(processors) == (os.cpu_count() or 1) + 1
    assert {figure for processor in processors for figure in processor[1:]} == {"0"}
    for name in (
        "diskstats",
        "partitions",
        "softirqs",
        "schedstat",
        "zoneinfo",
        "buddyinfo",
        "interrupts",
        "pressure",
    ):
        assert not seen.get(name), name
    assert not any(seen.get(f"sys/fs/{name}-nr") for name in ("file", "inode", "aio"))
    assert len(seen["swaps"].splitlines()) == 1
    assert {line.split()[1] for line in seen["vmstat"].splitlines()} == {"0"}


async def test_a_function_cannot_say_that_it_is_somebody_else_to_the_hosts_audit(harness: Harness) -> None:
    source = probe("""
        path = "/proc/self/loginuid"
        if not os.path.exists(path):
            return None
        return [attempt(lambda: os.write(os.open(path, os.O_WRONLY), b"0")), open(path).read()]
    """)
    async with harness.running(source) as function:
        answer = await function.result()
        if answer is None:
            pytest.skip("this kernel has no audit")
        assert answer == ["EROFS", str(function.sandbox.uid)]


@pytest.mark.parametrize("fresh", [False, True])
async def test_python_environments_are_alike_in_memory_unless_the_operator_wants_fresh_interpreters(
    harness: Harness, tmp_path: Path, fresh: bool
) -> None:
    """By default as SECURITY.md says, not as one would wish: what is the same in all forks of one process, and what is not."""
    source = probe("""
        import random, ssl, uuid
        return [[hash("text"), id(len), id(None)], [random.random(), uuid.uuid4().hex, ssl.RAND_bytes(8).hex()]]
    """)
    async with fresh_harness(tmp_path) if fresh else contextlib.nullcontext(harness) as made:
        async with made.running(source) as one, made.running(source) as other:
            (layout, numbers), (other_layout, other_numbers) = await one.result(), await other.result()
    assert (layout == other_layout) is not fresh
    assert not set(numbers) & set(other_numbers)


@contextlib.asynccontextmanager
async def fresh_harness(folder: Path) -> AsyncIterator[Harness]:
    settings = Settings()
    settings.worker.prestart_runtimes = []
    settings.worker.pool_size = settings.worker.pool_size_max = 1
    settings.worker.fresh_interpreters = True
    pool = SandboxPool(settings, folder / "root")
    await pool.start()
    try:
        yield Harness(pool, folder)
    finally:
        await pool.close()
