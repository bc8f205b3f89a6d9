"""What the sandboxes of one zygote see is made of, collected in a tmpfs that the zygote then lives in itself: nothing of the
host that is not listed here can be named any more.

Python 3.8, standard library only. Built once by the zygote (`build`); each sandbox makes a root of its own from it, see
private_root.py. (What these roots are made of is in HOST of host_folders.py, which none of them has.) Where what is:

    SKELETON     the root of sandboxes: small files, links, devices, and folders for what is mounted
    LAYOUT       JSON: what is mounted in a sandbox, in order: its path there and the folders it is made of here, the first
                 above the others, or the folder of the sandbox that it is
    the rest     the same files at the same paths, for the zygote's own imports
"""

from __future__ import annotations

import json
import os
import shutil
import stat

from . import entrypoint, host_figures, host_folders, libc, namespaces, sleeper
from .mounts import BIND, CODE, EMPTY, LAYERS, NO_DEV, NO_SUID, OWN, READ_ONLY, RECURSIVE, REMOUNT, SANDBOX, SLEEPER, WARM_UP
from .network.addresses import ENDPOINT

_ROOTS = "/.roots"
SKELETON = _ROOTS + host_folders.ROOT
LAYOUT = "/.layout"
LANGUAGE = "/var/lang"
RUNTIME = "/var/runtime"
ENGINE = RUNTIME + "/lambdad"
"""Where the zygote finds the project's modules, so that this is what a stack shows of them; sandboxes have no such folder."""

_RUNTIME_PARTS = "/.runtime"
_CHANGES = "/.changes"
_REDIRECTS = "/.redirects"
_LOCALES, _LOCALE = "/usr/lib/locale", "en_US.utf8"
_LANGUAGE_ALONE = "/.language"
"""LANGUAGE without the zygote's own executable mounted in it: for a user namespace that is made later such mounts are locked,
and the kernel makes no overlay of a folder with a locked mount in it."""
NOTHING = "/.nothing"
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
DEVICES = "/.devices"
"""The host's own, where a worker has no right to make some: in a user namespace. Each sandbox mounts them."""
_DEVICES = {"full": (1, 7), "null": (1, 3), "random": (1, 8), "urandom": (1, 9), "zero": (1, 5)}
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_ETC_FILES = {
    "hosts": "127.0.0.1 localhost\n169.254.100.1 sandbox.localdomain sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "nameserver %s\n" % ENDPOINT,
    "passwd": "",
    "group": "",
}
_WARM_UP_CODE = """import logging
def handler(event, context):
    print("warm", context.get_remaining_time_in_millis())
    logging.getLogger().warning("warm")
    return event
"""
_FOLDERS = ("/proc", "/tmp", "/root", CODE + "/lib", LAYERS + "/lib")
"""Those named lib are there for the loaders of programs that start before there is a function: they look once which folders of
LD_LIBRARY_PATH exist. A function's code and layers are mounted over them."""
_EMPTY_FOLDERS = ("/home", "/media", "/mnt", "/run", "/srv", EMPTY)
_ROOT_OPTIONS = "mode=755,size=256m,nr_inodes=65536"
"""A ceiling, not what is used: each sandbox that lives holds three small files (12 KiB) there, and 10,000 may."""
_STAGES = ("/mnt", "/media", "/srv", "/tmp", "/var/tmp", "/run")
"""Folders that a host has: the new root is mounted over one of them, in the zygote's own mount table only."""


class Host:
    """engine: the project's services/worker. prefixes: folders beyond /usr that the zygote's interpreter needs. language_root:
    is /var/lang in sandboxes. interpreter: the zygote's, where a fork of it serves, by its name in LANGUAGE/bin. runtime_dirs:
    are /var/runtime together, files of the first before those of others. links: of sandboxes' roots, and where they lead.
    settings: names in /etc that are shown, too."""

    def __init__(
        self,
        engine: str,
        prefixes: list[str],
        language_root: str | None,
        interpreter: str | None,
        runtime_dirs: list[str],
        links: list[tuple[str, str]],
        settings: list[str],
    ) -> None:
        self.engine = engine
        self.prefixes = prefixes
        self.language_root = language_root
        self.interpreter = interpreter
        self.runtime_dirs = runtime_dirs
        self.links = links
        self.settings = settings


def build(host: Host) -> None:
    """Make the root and move into it. Raises OSError."""
    sources = [host.engine, *host.prefixes, *host.runtime_dirs, *([host.language_root] if host.language_root else [])]
    one_user = namespaces.has_one_user()
    stage = _choose_stage([*_SYSTEM, "/etc", "/dev", *sources])
    libc.mount("tmpfs", stage, "tmpfs", NO_SUID, _ROOT_OPTIONS)
    for path in (SANDBOX, NOTHING, ENGINE, SKELETON + LANGUAGE, SKELETON + RUNTIME):
        os.makedirs(stage + path, mode=0o755)
    os.makedirs(stage + OWN, mode=0o700)
    sleeper.write(stage + SLEEPER)
    _make_skeleton(stage + SKELETON)
    for name in host.settings:
        _copy("/etc/" + name, stage + SKELETON + "/etc/" + name)
    if one_user:
        _show_devices(stage)
        # A sandbox of a user namespace may mount its own where one is in sight, and that zygote says who it is there.
        os.makedirs(stage + "/proc", mode=0o755)
        libc.mount("/proc", stage + "/proc", None, BIND | RECURSIVE)
    else:
        _make_devices(stage + SKELETON)
    for place, target in host.links:
        _link(target, stage + SKELETON + place)
    for name in ("/etc", os.path.dirname(WARM_UP)):
        os.symlink(SKELETON + name, stage + name)
    os.symlink(DEVICES if one_user else SKELETON + "/dev", stage + "/dev")
    for path in _FOLDERS:
        os.makedirs(stage + path, mode=0o755, exist_ok=True)
    mounted = [path for path in _SYSTEM if _show_system(stage, path)]
    _bind(host.engine, stage + ENGINE)
    if host.language_root is not None:
        _bind(host.language_root, stage + LANGUAGE)
        mounted.append(LANGUAGE)
        if one_user:
            _bind(host.language_root, stage + _LANGUAGE_ALONE)
    for prefix in host.prefixes:
        if prefix == host.language_root:
            # Programs find their libraries, and libraries their files, by the path that they were built for.
            for root in (stage, stage + SKELETON):
                _link(LANGUAGE, root + prefix)
        else:
            _bind(prefix, stage + prefix)
    layers = {path: [path, NOTHING] for path in mounted}
    if one_user and LANGUAGE in layers:
        layers[LANGUAGE] = [_LANGUAGE_ALONE, NOTHING]
    for number, path in enumerate(host.runtime_dirs):
        part = "%s/%d" % (_RUNTIME_PARTS, number)
        _bind(path, stage + part)
        for name in os.listdir(path):
            if not os.path.lexists(stage + RUNTIME + "/" + name):
                os.symlink(part + "/" + name, stage + RUNTIME + "/" + name)
        layers.setdefault(RUNTIME, [NOTHING]).insert(number, part)
    _make_bash_the_shell(stage, layers)
    _know_the_locale(stage, layers)
    if host.interpreter is not None:
        _hide_executable(stage, host.interpreter)
    joined = None if one_user else _join(stage, host, layers)
    _write(stage + LAYOUT, json.dumps(joined or {"": [SKELETON, NOTHING], **layers}))
    _enter(stage)


def _join(stage: str, host: Host, layers: dict[str, list[str]]) -> dict[str, list[str] | str] | None:
    """A layout with as few overlays as this host allows, if it allows for any fewer."""
    folders = {path: path for path in layers if path in _SYSTEM}
    if host.language_root is not None:
        folders[LANGUAGE] = host.language_root
    ours = [path for path in host.runtime_dirs if path.startswith(host.engine + "/")]
    others = [path for path in host.runtime_dirs if path not in ours]
    if not _overlap(host.runtime_dirs):
        folders.update((RUNTIME, path) for path in others[:1])
    joined = [_ROOTS, _REDIRECTS, _CHANGES, host_folders.HOST]
    os.makedirs(stage + _CHANGES, mode=0o755, exist_ok=True)
    try:
        _bind("/", stage + host_folders.HOST)
        shown, within = host_folders.redirect(stage + _REDIRECTS, folders)
        _try(stage, joined, shown)
    except OSError:
        # This kernel, or the file system of the host's root, has no such overlays.
        if os.path.ismount(stage + host_folders.HOST):
            libc.unmount(stage + host_folders.HOST)
        return None
    in_root = set(shown)
    if not others or (len(others) == 1 and RUNTIME in shown):
        # One folder of the host alone can be shown at a path. The project's own are small.
        for path in reversed(ours):
            shutil.copytree(path, stage + SKELETON + RUNTIME, symlinks=True, dirs_exist_ok=True)
        in_root.add(RUNTIME)
    else:
        in_root.discard(RUNTIME)
    within.pop(RUNTIME, None)
    return {"": joined, **{path: within.get(path, layers[path]) for path in layers if path not in in_root}}


def _overlap(folders: list[str]) -> bool:
    names = [name for folder in folders for name in os.listdir(folder)]
    return len(set(names)) < len(names)


def _try(stage: str, layers: list[str], shown: dict[str, str]) -> None:
    """Raises OSError when these layers do not show what they should, or are too many on top of each other."""
    place = stage + SANDBOX
    host_folders.mount([stage + layer for layer in layers], place)
    try:
        for path, folder in shown.items():
            if not set(os.listdir(folder)) <= set(os.listdir(place + host_folders.ROOT + path)):
                raise FileNotFoundError(path)
    finally:
        libc.unmount(place)


def _make_skeleton(root: str) -> None:
    for path in (*_FOLDERS, *_EMPTY_FOLDERS):
        os.makedirs(root + path, mode=0o755, exist_ok=True)
    for name in _ETC:
        _copy("/etc/" + name, root + "/etc/" + name)
    for name, text in _ETC_FILES.items():
        _write(root + "/etc/" + name, text)
    os.makedirs(root + "/dev", mode=0o755)
    for name, target in _LINKS.items():
        os.symlink(target, root + "/dev/" + name)
    _write(root + WARM_UP + "/lambdad_warm_up.py", _WARM_UP_CODE)
    _write(root + entrypoint.PATH, entrypoint.TEXT)
    os.chmod(root + entrypoint.PATH, 0o755)
    for name, text in host_figures.constant().items():
        _write(root + host_figures.FOLDER + "/" + name, text)


def _make_devices(root: str) -> None:
    for name, (major, minor) in _DEVICES.items():
        os.mknod(root + "/dev/" + name, stat.S_IFCHR, os.makedev(major, minor))
        os.chmod(root + "/dev/" + name, 0o666)


def _show_devices(stage: str) -> None:
    for name in _DEVICES:
        _write(stage + SKELETON + "/dev/" + name, "")
        _write(stage + DEVICES + "/" + name, "")
        libc.mount("/dev/" + name, stage + DEVICES + "/" + name, None, BIND)


def _show_system(stage: str, path: str) -> bool:
    """Show a host path at its own place; a link (merged /usr) stays a link. Whether it is a folder of its own."""
    if os.path.islink(path):
        for root in (stage, stage + SKELETON):
            os.symlink(os.readlink(path), root + path)
        return False
    if not os.path.isdir(path):
        return False
    os.makedirs(stage + SKELETON + path, mode=0o755)
    _bind(path, stage + path)
    return True


def _make_bash_the_shell(stage: str, layers: dict[str, list[str]]) -> None:
    """/bin/sh as on Amazon Linux; what the host calls sh may be another shell."""
    bash = shutil.which("bash", path="/usr/bin:/bin")
    folder = os.path.realpath("/bin")
    system = next((path for path in layers if path in _SYSTEM and (folder + "/").startswith(path + "/")), None)
    if bash is None or system is None:
        raise FileNotFoundError("there is no bash in /usr/bin or /bin")
    _link(bash, stage + _CHANGES + folder + "/sh")
    layers[system][:] = [_CHANGES + system, system]


def _know_the_locale(stage: str, layers: dict[str, list[str]]) -> None:
    """LANG is en_US.UTF-8, as on Amazon Linux. A host may lack it, and text would be taken for ASCII: there it is C.UTF-8."""
    known = [name for name in ("C.utf8", "C.UTF-8") if os.path.isdir(os.path.join(_LOCALES, name))]
    if known and not os.path.isdir(os.path.join(_LOCALES, _LOCALE)):
        _link(known[0], stage + _CHANGES + os.path.join(_LOCALES, _LOCALE))
        if _CHANGES + "/usr" not in layers["/usr"]:
            layers["/usr"].insert(0, _CHANGES + "/usr")


def _hide_executable(stage: str, name: str) -> None:
    """Have the zygote be executed from a copy that nobody else can open. /proc/self/exe leads every fork to that very file, and
    could lock or watch it: a channel between functions, and to whoever uses the host's."""
    path = LANGUAGE + "/bin/" + name
    copy = stage + OWN + "/" + name
    shutil.copyfile(stage + path, copy)
    os.chmod(copy, 0o711)
    libc.mount(copy, stage + path, None, BIND)
    libc.mount(None, stage + path, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)


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


def _bind(source: str, place: str) -> None:
    os.makedirs(place, mode=0o755, exist_ok=True)
    libc.mount(source, place, None, BIND)
    libc.mount(None, place, None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)


def _copy(source: str, target: str) -> None:
    """Of what the host has, as it is now: a copy cannot be locked or watched by others."""
    if os.path.isdir(source):
        shutil.copytree(source, target, symlinks=True, ignore_dangling_symlinks=True)
    elif os.path.exists(source):
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        shutil.copyfile(source, target)


def _link(target: str, place: str) -> None:
    os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
    os.symlink(target, place)


def _write(place: str, text: str) -> None:
    os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
    with open(place, "w", encoding="ascii") as file:
        file.write(text)
