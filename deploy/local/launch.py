"""Starting a child process that cannot outlive its parent, as another user and in sight of its own files if need be.

Every child of the supervisor starts here. The kernel's parent-death signal is what keeps a `kill -9` of the supervisor
from leaving orphans; the kernel clears it when the user changes, so it is set as the very last step before exec.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.domain.errors import ConfigurationError

PR_SET_PDEATHSIG = 1
CLONE_NEWNS = 0x0002_0000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Launch:
    """What to start.

    log: file that stdout and stderr are appended to. stdin: file to read, none by default. user: (uid, gid) to become, None
    to stay. visible: directories that this user must reach even if one of their parents is closed to it. death_signal: sent
    when the parent dies. umask: what the files that it makes are closed to, everybody else by default. nice: how far it gives
    way to the others where the processors do not suffice.
    """

    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stdin: Path | None = None
    user: tuple[int, int] | None = None
    visible: tuple[Path, ...] = ()
    death_signal: int = signal.SIGKILL
    umask: int = 0o077
    nice: int = 0


def launch(spec: Launch) -> subprocess.Popen[bytes]:
    """Start it in a session of its own (a terminal's Ctrl-C then reaches the parent alone, which stops things in order).

    Call from a thread that lives as long as the child should: the death signal is tied to the calling thread.
    Raises ConfigurationError when the child's user cannot be given sight of its directories.
    """
    curtain = _curtain(spec) if spec.user else None
    parent = os.getpid()

    def enter() -> None:
        if curtain:
            os.umask(0o022)  # What it hangs must be passable.
            curtain.draw()
            os.umask(spec.umask)
        if spec.user:
            uid, gid = spec.user
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        if spec.nice:
            give_way(spec.nice)
        die_with_parent(parent, spec.death_signal)

    spec.log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with spec.log.open("ab") as log, (spec.stdin or Path(os.devnull)).open("rb") as stdin:
            return subprocess.Popen(
                list(spec.argv),
                stdin=stdin,
                stdout=log,
                stderr=log,
                env=dict(spec.environment),
                cwd=spec.cwd,
                start_new_session=True,
                umask=spec.umask,
                preexec_fn=enter,
            )
    except subprocess.SubprocessError as error:
        raise ConfigurationError(_refusal(spec, curtain)) from error


def give_way(nice: int) -> None:
    """This process, and its session: where the kernel shares processors out among sessions, a process counts within its own."""
    os.nice(nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


def _refusal(spec: Launch, curtain: _Curtain | None) -> str:
    """What to change so that a child, which could not become what it should, can."""
    program = Path(spec.argv[0]).name
    if spec.user is None or curtain is None:
        return f"{program} cannot be started: this machine does not let it become {spec.user or 'a process of its own'}."
    closed = " ".join(shlex.quote(str(path)) for path in curtain.closed)
    return (
        f"{program} must run as uid {spec.user[0]}, which may not enter {closed}, and this machine does not let us open a "
        f"private view of what is inside. Let every user pass (chmod o+x {closed}), or have data and checkout elsewhere."
    )


def die_with_parent(parent: int, death_signal: int = signal.SIGKILL) -> None:
    """Have the kernel send `death_signal` to this process when `parent`, which forked it, dies."""
    if _libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)  # The parent died before the signal was asked for.


class _Curtain:
    """A private view of the file system in which closed parents are replaced by open, empty ones around what must be seen."""

    def __init__(self, closed: Sequence[Path], wanted: Sequence[Path]) -> None:
        self.closed = tuple(closed)
        self._wanted = tuple(wanted)

    def draw(self) -> None:
        """In the child, still privileged. The same absolute paths keep their meaning, so nothing else needs to know."""
        _check(_libc.unshare(CLONE_NEWNS), "unshare")
        _mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None)
        # Opened in the new namespace (mounts of another one cannot be bound) and before they are covered.
        descriptors = [os.open(path, os.O_PATH | os.O_DIRECTORY) for path in self._wanted]
        for path in self.closed:
            _mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, b"mode=0755,size=64k")
        for path, descriptor in zip(self._wanted, descriptors, strict=True):
            path.mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}".encode(), os.fsencode(path), None, MS_BIND | MS_REC, None)
            os.close(descriptor)


def views_can_be_private() -> bool:
    """Whether a child of another user can be given sight of its directories behind closed ones. True where there is none: only
    root has children of other users."""
    if os.geteuid() != 0:
        return True
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(OSError):
            _Curtain((), ()).draw()
            status = 0
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _curtain(spec: Launch) -> _Curtain | None:
    assert spec.user is not None
    closed: list[Path] = []
    wanted: list[Path] = []
    for path in (visible.resolve() for visible in spec.visible):
        barrier = _first_closed_parent(path, spec.user[0])
        if barrier is not None:
            wanted.append(path)
            if barrier not in closed:
                closed.append(barrier)
    return _Curtain(closed, wanted) if closed else None


def _first_closed_parent(path: Path, uid: int) -> Path | None:
    for parent in reversed(path.parents):
        found = parent.stat()
        may_enter = found.st_mode & 0o001 or (found.st_uid == uid and found.st_mode & 0o100)
        if not may_enter:
            return parent
    return None


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, data: bytes | None) -> None:
    _check(_libc.mount(source, target, kind, flags, data), f"mount {os.fsdecode(target)}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
