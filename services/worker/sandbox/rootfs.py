"""The root that every sandbox of a zygote sees: an empty tmpfs with an allow-list of host paths.

Python 3.8, standard library only. Built once, by the zygote, which then lives in it itself: nothing of the host
that is not listed can be named any more.
"""

from __future__ import annotations

import os

from . import libc
from .mounts import ACCOUNTS, BIND, CODE, EMPTY, LAYERS, NO_DEV, NO_EXEC, NO_SUID, READ_ONLY, REMOUNT, WARM_UP

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
_DEVICES = ("full", "null", "random", "urandom", "zero")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_ETC_FILES = {
    "hosts": "127.0.0.1 localhost\n169.254.100.1 sandbox.localdomain sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
    "passwd": "",
    "group": "",
}
_WARM_UP_CODE = """import logging
def handler(event, context):
    print("warm", context.get_remaining_time_in_millis())
    logging.getLogger().warning("warm")
    return event
"""
_ROOT_OPTIONS = "mode=755,size=128m,nr_inodes=32768"
"""A ceiling, not what is used: each sandbox that lives holds two small files (8 KiB) there, and 10,000 may."""
_STAGE = "/tmp"
"""Any folder: the new root is mounted over it in the zygote's own mount table only."""


def build(prefixes: list[str], runtime_dir: str | None, language_root: str | None) -> None:
    """Make the root and move into it. prefixes: further host folders, seen at their own path. runtime_dir: becomes
    /var/runtime. language_root: what /var/lang leads to. Raises OSError."""
    libc.mount("tmpfs", _STAGE, "tmpfs", NO_SUID, _ROOT_OPTIONS)
    for path in _SYSTEM:
        _mirror(path)
    for prefix in prefixes:
        _mirror(prefix)
    for name in _ETC:
        if os.path.exists("/etc/" + name):
            _bind(os.path.realpath("/etc/" + name), "/etc/" + name)
    for name, text in _ETC_FILES.items():
        _write("/etc/" + name, text)
    for name in _DEVICES:
        _bind("/dev/" + name, "/dev/" + name, read_only=False)
    for name, target in _LINKS.items():
        os.symlink(target, _STAGE + "/dev/" + name)
    for path in (CODE, LAYERS, "/proc", "/tmp", "/root", EMPTY):
        os.makedirs(_STAGE + path, mode=0o755, exist_ok=True)
    _write(WARM_UP + "/lambdad_warm_up.py", _WARM_UP_CODE)
    os.makedirs(_STAGE + ACCOUNTS, mode=0o700)
    os.makedirs(_STAGE + "/var/runtime", exist_ok=True)
    if runtime_dir is not None:
        _bind(runtime_dir, "/var/runtime")
    if language_root is not None:
        os.symlink(language_root, _STAGE + "/var/lang")
    _enter()


def _enter() -> None:
    os.chdir(_STAGE)
    libc.pivot_root(".", ".")
    detach = 2
    libc.unmount(".", detach)
    os.chdir("/")


def _mirror(path: str) -> None:
    """Show a host path at its own place; a link (merged /usr) stays a link."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), _STAGE + path)
    elif os.path.isdir(path) and not os.path.exists(_STAGE + path):
        _bind(path, path)


def _bind(source: str, target: str, read_only: bool = True) -> None:
    place = _STAGE + target
    if os.path.isdir(source):
        os.makedirs(place, mode=0o755, exist_ok=True)
    else:
        _write(target, "")
    libc.mount(source, place, None, BIND)
    if read_only:
        libc.mount(None, place, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)
    else:
        libc.mount(None, place, None, BIND | REMOUNT | NO_SUID | NO_EXEC)


def _write(target: str, text: str) -> None:
    os.makedirs(os.path.dirname(_STAGE + target), mode=0o755, exist_ok=True)
    with open(_STAGE + target, "w", encoding="ascii") as file:
        file.write(text)
