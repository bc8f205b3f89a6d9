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
_STAGES = ("/mnt", "/media", "/srv", "/tmp", "/var/tmp", "/run")
"""Folders that a host has: the new root is mounted over one of them, in the zygote's own mount table only."""


def build(prefixes: list[str], runtime_dir: str | None, language_root: str | None) -> None:
    """Make the root and move into it. prefixes: further host folders, seen at their own path. runtime_dir: becomes
    /var/runtime. language_root: what /var/lang leads to. Raises OSError."""
    stage = _choose_stage([*_SYSTEM, *prefixes, "/etc", "/dev", runtime_dir or "/usr"])
    libc.mount("tmpfs", stage, "tmpfs", NO_SUID, _ROOT_OPTIONS)
    for path in (*_SYSTEM, *prefixes):
        _mirror(stage, path)
    for name in _ETC:
        if os.path.exists("/etc/" + name):
            _bind(stage, os.path.realpath("/etc/" + name), "/etc/" + name)
    for name, text in _ETC_FILES.items():
        _write(stage, "/etc/" + name, text)
    for name in _DEVICES:
        _bind(stage, "/dev/" + name, "/dev/" + name, read_only=False)
    for name, target in _LINKS.items():
        os.symlink(target, stage + "/dev/" + name)
    for path in (CODE, LAYERS, "/proc", "/tmp", "/root", EMPTY):
        os.makedirs(stage + path, mode=0o755, exist_ok=True)
    _write(stage, WARM_UP + "/lambdad_warm_up.py", _WARM_UP_CODE)
    os.makedirs(stage + ACCOUNTS, mode=0o700)
    os.makedirs(stage + "/var/runtime", exist_ok=True)
    if runtime_dir is not None:
        _bind(stage, runtime_dir, "/var/runtime")
    if language_root is not None:
        os.symlink(language_root, stage + "/var/lang")
    _enter(stage)


def _choose_stage(sources: list[str]) -> str:
    """A folder that hides none of the sources when it is mounted over: a checkout may well lie in /tmp or /srv."""
    for stage in _STAGES:
        if os.path.isdir(stage) and not any((os.path.realpath(path) + "/").startswith(stage + "/") for path in sources):
            return stage
    raise FileNotFoundError("none of %s can be mounted over" % ", ".join(_STAGES))


def _enter(stage: str) -> None:
    os.chdir(stage)
    libc.pivot_root(".", ".")
    detach = 2
    libc.unmount(".", detach)
    os.chdir("/")


def _mirror(stage: str, path: str) -> None:
    """Show a host path at its own place; a link (merged /usr) stays a link."""
    if os.path.islink(path):
        os.symlink(os.readlink(path), stage + path)
    elif os.path.isdir(path) and not os.path.exists(stage + path):
        _bind(stage, path, path)


def _bind(stage: str, source: str, target: str, read_only: bool = True) -> None:
    place = stage + target
    if os.path.isdir(source):
        os.makedirs(place, mode=0o755, exist_ok=True)
    else:
        _write(stage, target, "")
    libc.mount(source, place, None, BIND)
    if read_only:
        libc.mount(None, place, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)
    else:
        libc.mount(None, place, None, BIND | REMOUNT | NO_SUID | NO_EXEC)


def _write(stage: str, target: str, text: str) -> None:
    os.makedirs(os.path.dirname(stage + target), mode=0o755, exist_ok=True)
    with open(stage + target, "w", encoding="ascii") as file:
        file.write(text)
