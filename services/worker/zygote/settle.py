"""A zygote's first step: make the root that it will live in, move there, and become the interpreter that is seen there."""

import os
import signal
import socket

from ..sandbox import libc, mounts, namespaces, protocol, rootfs
from . import archive


def settle(command_fd, worker_dir):
    """Set up by the worker's first message. Never returns when all goes well."""
    libc.set_parent_death_signal(signal.SIGKILL)
    commands = socket.socket(fileno=command_fd)
    try:
        config, fds = protocol.receive_message(commands)
        inside = config["inside"]
        os.umask(0o022)
        namespaces.leave_mount_namespace()
        name = os.path.basename(config["interpreter"])
        host = rootfs.Host(
            engine=worker_dir,
            prefixes=config["prefixes"],
            language_root=config["language_root"],
            interpreter=None if inside is None else name,
            runtime_dirs=config["runtime_dirs"],
            links=config["links"],
            settings=config["settings"],
        )
        rootfs.build(host)
        if config["archive"] is not None:
            archive.provide(config["archive"], config["variables"], fds[0])
        interpreter = config["interpreter"] if inside is None else rootfs.LANGUAGE + "/bin/" + name
        argv = [interpreter, "-S", rootfs.ENGINE + "/zygote/boot.py", str(command_fd), config["pool"]]
        if inside is not None:
            argv.append(os.path.relpath(inside, worker_dir))
        os.execve(interpreter, argv, {"LD_LIBRARY_PATH": mounts.LIBRARY_PATH})
    except Exception as error:
        protocol.send_message(commands, {"error": "%s: %s" % (type(error).__name__, error)})
