"""What a function must not be able to do. Every probe runs inside a real sandbox, as a function would try it."""

from __future__ import annotations

import os
import socket
import textwrap
from pathlib import Path

import pytest

from services.worker.sandbox.launched import LaunchedSandbox
from services.worker.sandbox.mounts import LIBRARY_PATH
from services.worker.sandbox.spec import RuntimeExit
from services.worker.sandbox.uids import UidPool
from tests.integration.sandbox.harness import Harness
from tests.support import PYTHON

NULL_DEVICE = os.makedev(1, 3)
THIS_FILE = str(Path(__file__).resolve())
SECRET = "LAMBDAD_TEST_SECRET"


def probe(body: str) -> str:
    """A handler with `body`; what it raises is its answer, as text."""
    return (
        "import ctypes, errno, os, socket, subprocess, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(number, *arguments):\n"
        "    result = libc.syscall(number, *arguments)\n"
        "    return 'allowed' if result >= 0 else errno.errorcode[ctypes.get_errno()]\n"
        "def attempt(function, *arguments):\n"
        "    try:\n        function(*arguments)\n        return 'allowed'\n"
        "    except OSError as error:\n        return errno.errorcode.get(error.errno, str(error))\n"
        "def handler(event, context):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    )


async def test_a_function_is_its_own_user_without_any_privilege(harness: Harness) -> None:
    source = probe("""
        import grp, pwd
        status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
        return [os.getresuid(), os.getresgid(), os.getgroups(), pwd.getpwuid(os.getuid()).pw_name, status]
    """)
    async with harness.running(source) as one, harness.running(source) as other:
        uids, gids, groups, name, status = await one.result()
        assert uids == [one.sandbox.uid] * 3
        assert gids == [one.sandbox.uid] * 3
        assert (groups, name) == ([], "sbx_user1051")
        assert {status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0000000000000000"}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert one.sandbox.uid != other.sandbox.uid


async def test_no_process_shows_the_workers_environment(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "must not be seen")
    source = probe("""
        found = []
        for entry in os.listdir("/proc"):
            for name in ("environ", "cmdline"):
                try:
                    found.append(open("/proc/%s/%s" % (entry, name), "rb").read().decode("latin-1"))
                except OSError:
                    pass
        memory = open("/proc/self/environ", "rb").read().decode("latin-1")
        return [found, memory, dict(os.environ)]
    """)
    async with harness.running(source) as function:
        everything = str(await function.result())
    assert SECRET not in everything
    assert "must not be seen" not in everything


async def test_other_processes_cannot_be_seen_signalled_or_read(harness: Harness) -> None:
    source = probe(
        """
        return [
            sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit()),
            attempt(os.listdir, "/proc/1/fd"), attempt(open, "/proc/1/maps"), attempt(open, "/proc/1/mem"),
            attempt(os.kill, 1, 9), attempt(os.kill, 1, 15), attempt(os.kill, event, 0),
        ]
    """
    )
    async with harness.running(source) as function:
        pids, *attempts = await function.result(os.getpid())
        assert pids == [2]
        assert attempts == ["ENOENT", "ENOENT", "ENOENT", "EPERM", "EPERM", "ESRCH"]
        assert (await function.result(os.getpid()))[0] == [2]  # init lives


async def test_the_root_shows_the_allow_list_and_nothing_of_the_host(harness: Harness) -> None:
    source = probe("""
        return [
            sorted(os.listdir("/")), sorted(os.listdir("/etc")), sorted(os.listdir("/dev")), sorted(os.listdir("/root")),
            os.path.exists("/sys"), os.path.exists(event), attempt(open, "/etc/shadow"), attempt(os.listdir, "/.own"),
            open("/etc/passwd").read(),
        ]
    """)
    async with harness.running(source) as function:
        root, etc, dev, home, sys, checkout, shadow, accounts, passwd = await function.result(THIS_FILE)
    assert set(root) <= {
        ".lambdad", "bin", "dev", "etc", "home", "lambda-entrypoint.sh", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt",
        "proc", "root", "run", "sbin", "srv", "tmp", "usr", "var",
    }  # fmt: skip
    assert "shadow" not in etc
    assert dev == ["fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"]
    assert set(home) <= {".pyenv", ".local"}
    assert (sys, checkout, shadow, accounts) == (False, False, "ENOENT", "ENOENT")
    assert len(passwd.splitlines()) == 2


async def test_nothing_but_tmp_can_be_written(harness: Harness) -> None:
    source = probe("""
        found = {}
        for folder in ("/", "/var/task", "/opt", "/etc", "/usr", "/var/runtime", "/dev", "/proc/sys/kernel", "/root", "/.lambdad/warm-up", "/mnt"):
            found[folder] = attempt(open, folder + "/written", "w")
        found["own code"] = attempt(open, "/var/task/app.py", "a")
        found["hostname"] = attempt(open, "/proc/sys/kernel/hostname", "w")
        return [found, attempt(open, "/tmp/written", "w")]
    """)
    async with harness.running(source, layers={"data": ""}) as function:
        found, tmp = await function.result()
    assert set(found.values()) <= {"EROFS", "EACCES", "ENOENT"}, found
    assert found["/var/task"] == found["/opt"] == "EROFS"
    assert tmp == "allowed"


async def test_another_functions_code_and_tmp_cannot_be_reached(harness: Harness) -> None:
    writer = probe("open('/tmp/secret-of-one', 'w').write('secret'); return os.getuid()")
    reader = probe("""
        found = []
        for folder, _folders, files in os.walk("/"):
            if folder.startswith(("/proc", "/usr", "/root", "/var/lang", "/var/runtime")):
                continue
            found += [os.path.join(folder, name) for name in files if name in ("secret-of-one", "theirs.py")]
        return found
    """)
    async with harness.running({"app.py": writer, "theirs.py": ""}) as one, harness.running(reader) as other:
        await one.result()
        assert await other.result() == []


async def test_no_port_of_the_host_can_be_reached(harness: Harness) -> None:
    """Redis, Postgres, Kafka and everything else of the host listen where a sandbox's network does not lead."""
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.create_server(("0.0.0.0", 0)) as everywhere:
        ports = [tcp.getsockname()[1], everywhere.getsockname()[1]]
        addresses = [["127.0.0.1", port] for port in ports] + [
            ["169.254.169.254", 80],
            ["169.254.170.2", 80],
            ["127.0.0.1", 6379],
        ]
        source = probe("""
            found = []
            for host, port in event:
                try:
                    socket.create_connection((host, port), 2)
                    found.append("connected")
                except OSError as error:
                    found.append(errno.errorcode[error.errno])
            return found
        """)
        async with harness.running(source) as function:
            found = await function.result(addresses)
    assert found == ["ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH", "EHOSTUNREACH", "ECONNREFUSED"]


async def test_abstract_unix_sockets_of_the_host_cannot_be_reached(harness: Harness) -> None:
    name = f"\0lambdad-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        listener.listen()
        source = probe("""
            with socket.socket(socket.AF_UNIX) as client:
                return attempt(client.connect, event)
        """)
        async with harness.running(source) as function:
            assert await function.result(name) == "ECONNREFUSED"


X86_64_CALLS = {
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "chroot": (161, 0),
    "open_tree": (428, -100, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "fsopen": (430, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "io_uring_setup": (425, 1, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "kexec_load": (246, 0, 0, 0, 0),
    "init_module": (175, 0, 0, 0),
    "userfaultfd": (323, 0),
    "personality": (135, 0x0040000),
    "open_by_handle_at": (304, -1, 0, 0),
    "swapon": (167, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "clone with a namespace": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "setuid program capabilities": (126, 0, 0),
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probes name x86_64 call numbers")
async def test_dangerous_system_calls_are_refused(harness: Harness) -> None:
    source = probe("return {name: call(*arguments) for name, arguments in event.items()}")
    calls = {name: list(arguments) for name, arguments in X86_64_CALLS.items() if "capabilities" not in name}
    async with harness.running(source) as function:
        answers = await function.result(calls)
        assert set(answers.values()) == {"EPERM"}, answers
        assert await function.result({"clone3": [435, 0, 0], "a call of the future": [600]}) == {
            "clone3": "ENOSYS",
            "a call of the future": "ENOSYS",
        }
        assert await function.result({"asking for the personality": [135, 0xFFFFFFFF]}) == {
            "asking for the personality": "allowed"
        }


async def test_only_unix_and_internet_sockets_can_be_made(harness: Harness) -> None:
    source = probe("return [attempt(socket.socket, *arguments) for arguments in event]")
    async with harness.running(source) as function:
        netlink, packet, vsock, alg = await function.result([[16, 3], [17, 3], [40, 1], [38, 5]])
        assert {netlink, packet, vsock, alg} == {"EAFNOSUPPORT"}
        assert await function.result([[1, 1], [2, 1], [10, 2]]) == ["allowed"] * 3
        assert await function.result([[2, 3, 1]]) == ["EPERM"]  # raw IP


async def test_an_x32_call_does_not_exist(harness: Harness) -> None:
    source = probe("return call(0x40000000 | 39)")
    async with harness.running(source) as function:
        assert await function.result() == "ENOSYS"


async def test_set_user_id_programs_give_nothing(harness: Harness) -> None:
    source = probe("""
        found = [path for path in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount") if os.path.exists(path)]
        subprocess.run(["/usr/bin/id", "-u"], check=True)
        outputs = [subprocess.run(["/bin/sh", "-c", path + " </dev/null; id -u"], capture_output=True).stdout.decode() for path in found]
        return [found, outputs]
    """)
    async with harness.running(source) as function:
        found, outputs = await function.result()
        assert all(output.strip().endswith(str(function.sandbox.uid)) for output in outputs), (found, outputs)


async def test_open_descriptors_are_the_functions_own(harness: Harness) -> None:
    source = probe("""
        found = {}
        for entry in os.listdir("/proc/self/fd"):
            try:
                found[entry] = os.readlink("/proc/self/fd/" + entry)
            except OSError:
                pass
        child = subprocess.run(["/bin/ls", "/proc/self/fd"], capture_output=True).stdout.decode().split()
        return [found, child, os.fstat(0).st_rdev]
    """)
    async with harness.running(source) as function:
        found, child, first = await function.result()
    assert first == NULL_DEVICE
    assert found["1"] == found["2"]
    assert found["1"].startswith("pipe:")
    assert found["3"].startswith("socket:")
    assert set(found) <= {"0", "1", "2", "3", "4"}, found
    assert "3" not in child or len(child) <= 4


async def test_the_cgroup_and_the_host_cannot_be_steered(harness: Harness) -> None:
    source = probe("""
        return [
            open("/proc/self/cgroup").read(), os.path.exists("/sys/fs/cgroup"), attempt(open, "/proc/sysrq-trigger", "w"),
            open("/proc/cmdline").read(), attempt(os.nice, -5), attempt(os.sched_setaffinity, 1, [0]),
            [line.split()[4] for line in open("/proc/self/mountinfo")],
        ]
    """)
    async with harness.running(source) as function:
        cgroup, cgroupfs, sysrq, cmdline, nice, _affinity, mounts = await function.result()
    assert "lambdad" not in cgroup
    assert all(line.endswith(":/") for line in cgroup.splitlines() if line.split(":")[1] in ("memory", "cpu", "pids", ""))
    assert (cgroupfs, cmdline, nice) == (False, "", "EPERM")
    assert sysrq in ("EACCES", "ENOENT")
    assert {"/tmp", "/proc", "/var/task"} <= set(mounts)


async def test_a_function_that_meddles_with_its_stream_only_ends_itself(harness: Harness) -> None:
    for garbage in ("b'\\xff' * 100", "b'\\0\\0\\0\\0\\x12' * 3", "b'\\x7f\\xff\\xff\\xff\\x12'", "b'\\0\\0\\0\\0\\x63'"):
        source = probe(f"os.write(3, {garbage}); import time; time.sleep(30)")
        async with harness.running(source) as function:
            end = await function.invoke()
            assert isinstance(end, RuntimeExit)
            assert end.signal == "killed"


async def test_uids_are_never_shared_by_two_workers_of_a_host(harness: Harness) -> None:
    one, other = UidPool(900_000, 20, 10), UidPool(900_000, 20, 10)
    try:
        assert one.take() != other.take()
        assert {one.take() for _ in range(9)}.isdisjoint({other.take() for _ in range(9)})
    finally:
        one.close()
        other.close()


async def test_a_sandbox_is_confined_before_it_has_a_function(harness: Harness) -> None:
    """Nothing of the user's can run with more than it will have: the drop happens in the pool."""
    sandbox = await harness.pool.take(PYTHON)
    assert isinstance(sandbox, LaunchedSandbox)
    try:
        own = _statuses(sandbox.uid)
        assert len(own) == 1
        status = _text(own[0])
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status
        assert (own[0].parent / "environ").read_bytes() == f"LD_LIBRARY_PATH={LIBRARY_PATH}\0".encode()
    finally:
        await sandbox.destroy()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _statuses(uid: int) -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*/status") if f"Uid:\t{uid}\t" in _text(path)]
