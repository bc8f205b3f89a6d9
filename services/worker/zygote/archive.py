"""What a zygote's programs start faster with: a file that one of them made of itself once, as the JVM does of loaded classes.

It is made in the zygote's root, since it is good only for programs that see the same files by the same names; and kept by the
worker for the zygotes to come. Where it cannot be made, programs start without it.
"""

import os
import shutil
import signal

from ..sandbox import mounts, rootfs

_SECONDS_MAX = 25
"""Of one command, whose end it is."""
_INCOMPLETE = ".incomplete-%d"


def provide(wanted, variables, folder_fd):
    """Have the archive at its place in the sandboxes' root. wanted: {"name": of the file in the worker's folder, "place": path,
    "commands": what makes it there}. variables: that these are executed with, as programs of sandboxes are. folder_fd: of the
    worker's folder."""
    place = rootfs.SKELETON + wanted["place"]
    os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
    if _copy(folder_fd, wanted["name"], place):
        return
    for command in wanted["commands"]:
        _run(command, variables)
    if os.path.exists(place):
        os.chmod(place, 0o444)
        _keep(place, folder_fd, wanted["name"])


def _copy(folder_fd, name, place):
    try:
        source = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder_fd)
    except FileNotFoundError:
        return False
    with open(source, "rb") as kept, open(place, "wb") as copy:
        shutil.copyfileobj(kept, copy)
    os.chmod(place, 0o444)
    return True


def _keep(place, folder_fd, name):
    incomplete = _INCOMPLETE % os.getpid()
    target = os.open(incomplete, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644, dir_fd=folder_fd)
    with open(place, "rb") as made, open(target, "wb") as kept:
        shutil.copyfileobj(made, kept)
    os.rename(incomplete, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)


def _run(command, variables):
    """As the zygote, which is trusted, and so is what makes an archive. It says nothing."""
    pid = os.fork()
    if pid == 0:
        try:
            null_fd = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null_fd, fd)
            signal.alarm(_SECONDS_MAX)
            os.execve(command[0], command, {"LANG": "en_US.UTF-8", "LD_LIBRARY_PATH": mounts.LIBRARY_PATH, **variables})
        finally:
            os._exit(127)
    os.waitpid(pid, 0)
