"""Runs hostile functions on a worker without root, and prints what each of them got: `python -m tests.security.rootless_probes
FOLDER PORT`, as an ordinary user. A process of its own, as only one with a single thread may enter a user namespace."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from deploy.local.layout import RUNTIMES
from services.worker import rootless
from services.worker.pool import SandboxPool
from services.worker.sandbox.spec import RuntimeExit
from shared.settings import Settings, WorkerSettings
from tests.integration.sandbox.harness import Harness

HEAD = """
import ctypes, errno, os, signal, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    return 'allowed' if result >= 0 else errno.errorcode[ctypes.get_errno()]
def attempt(function, *arguments):
    try:
        function(*arguments)
        return 'allowed'
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
"""
USER = """
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
return {"ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(), "map": open("/proc/self/uid_map").read().split(),
        **{key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")}}
"""
FILES = """
writes = [attempt(open, path, "w") for path in ("/x", "/etc/passwd", "/var/task/app.py", "/usr/x", "/var/lang/x", "/proc/meminfo")]
modes = [attempt(os.chmod, path, 0) for path in ("/etc/passwd", "/var/task/app.py", "/proc/self/exe", "/var/lang/bin")]
seen = [path for path in event["host"] if os.path.exists(path)]
mine = os.path.exists("/tmp/mine")
open("/tmp/mine", "w").write("x")
return {"writes": writes, "modes": modes, "seen": seen, "tmp_of_another": mine, "root": sorted(os.listdir("/"))}
"""
PROCESSES = """
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
signals = [attempt(os.kill, pid, signal.SIGKILL) for pid in (1, event["worker"])]
reads = [attempt(open, "/proc/1/%s" % name, "rb") for name in ("environ", "mem", "maps")]
return {"pids": pids, "me": os.getpid(), "signals": signals, "reads": reads, "init_lives": os.path.exists("/proc/self")}
"""
CALLS = """
new_user, new_net = 0x10000000, 0x40000000
numbers = {"unshare user": (272, new_user), "unshare net": (272, new_net), "mount": (165, 0, 0, 0, 0, 0), "ptrace": (101, 0, 1, 0, 0),
           "keyctl": (250, 0, 0, 0, 0, 0), "bpf": (321, 0, 0, 0), "io_uring_setup": (425, 1, 0), "setns": (308, 0, 0),
           "userfaultfd": (323, 0), "process_vm_readv": (310, 1, 0, 0, 0, 0, 0), "chroot": (161, b"/tmp"), "sethostname": (170, b"x", 1)}
return {name: call(*numbers[name]) for name in numbers}
"""
NETWORK = """
def reach(address):
    with socket.socket() as tried:
        tried.settimeout(2)
        return attempt(tried.connect, address)
return {"devices": [line.partition(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]], "host": reach(("127.0.0.1", event["port"])),
        "metadata": reach(("169.254.169.254", 80)), "abstract": attempt(socket.socket(socket.AF_UNIX).connect, "\\0" + event["abstract"])}
"""
MEMORY = """
try:
    return len(bytearray(event["mb"] << 20))
except MemoryError:
    return "MemoryError"
"""
FORKS = """
count = 0
try:
    while count < 2_000:
        if os.fork() == 0:
            signal.pause()
        count += 1
except OSError as error:
    return [count, errno.errorcode[error.errno]]
return [count, "no limit"]
"""


def handler(body: str) -> str:
    return f"{HEAD}def handler(event, context):\n{textwrap.indent(body, '    ')}"


async def probe(harness: Harness, port: int, abstract: str, outside: list[str], worker: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    async with harness.running(handler(USER)) as one, harness.running(handler(USER)) as other:
        found["user"], found["another user"] = await one.result(), await other.result()
    async with harness.running(handler(FILES)) as one, harness.running(handler(FILES)) as other:
        await one.result({"host": []})
        found["files"] = await other.result({"host": outside})
    async with harness.running(handler(PROCESSES)) as one:
        found["processes"] = await one.result({"worker": worker})
        found["after"] = await one.result({"worker": worker})
    async with harness.running(handler(CALLS)) as one:
        found["calls"] = await one.result()
    async with harness.running(handler(NETWORK)) as one:
        found["network"] = await one.result({"port": port, "abstract": abstract})
    async with harness.running(handler(MEMORY), memory_mb=256) as one:
        found["memory"] = [await one.result({"mb": 64}), await one.result({"mb": 400})]
    async with harness.running(handler(FORKS)) as one:
        end = await one.invoke({})
        found["forks"] = "ended" if isinstance(end, RuntimeExit) else json.loads(end.payload)
    return found


async def main(settings: Settings, port: int, worker: int) -> dict[str, Any]:
    root = settings.data_dir
    pool = SandboxPool(settings, root)
    await pool.start()
    try:
        outside = [
            str(root),
            str(Path(__file__)),
            "/etc/shadow",
            "/etc/hostname",
            "/home",
            "/root/.bashrc",
            "/sys",
            "/dev/kmsg",
        ]
        return await probe(Harness(pool, root), port, f"lambdad-probe-{port}", outside, worker)
    finally:
        await pool.close()


if __name__ == "__main__":
    import os

    told = Settings(
        data_dir=Path(sys.argv[1]),
        worker=WorkerSettings(runtime_dir=RUNTIMES, isolation="rootless", pool_size=1, prestart_runtimes=[]),
    )
    rootless.enter(told)
    sys.stdout.write(json.dumps(asyncio.run(main(told, int(sys.argv[2]), os.getpid()))) + "\n")
