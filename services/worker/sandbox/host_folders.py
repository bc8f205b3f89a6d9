"""Folders of the host within the one overlay that a sandbox's root is, and not in one more for each of them: the kernel keeps
something for every file system in every control group of memory. Python 3.8, standard library only.

The overlay has the host's whole root for its lowest layer, and a folder of ours for its only part that is a sandbox's. What is
in there leads to the host's folders by redirects, an attribute that overlays look for. Each sandbox mounts its own, so that it
sees what the host has by then: an overlay that many shared would remember what a file was before the host replaced it.
"""

from __future__ import annotations

import os
import re

from . import libc
from .mounts import BIND, EMPTY, NO_DEV, NO_SUID, OWN, READ_ONLY, SANDBOX

ROOT = "/.root"
"""In such an overlay: the sandbox's root."""
HOST = OWN + "/host"
"""Where the zygote has the host's root, for such overlays alone: no sandbox can name it."""


def redirect(layer: str, wanted: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Make a layer by which folders of the host are seen at the paths that `wanted` names. Raises OSError, as all here do.

    Returns (folder by path of those that are, and of those that lie within one of these: by path, where they are seen). The
    rest are on another file system than the host's root.
    """
    shown, within = fit(wanted, _mount_points())
    os.makedirs(layer + ROOT, mode=0o755)
    # Whatever the host may come to have by that name.
    os.setxattr(layer + ROOT, "trusted.overlay.opaque", b"y")
    for path, folder in shown.items():
        os.makedirs(layer + ROOT + path, mode=0o755)
        os.setxattr(layer + ROOT + path, "trusted.overlay.redirect", os.fsencode(folder))
    return shown, within


def fit(wanted: dict[str, str], mounted: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """As `redirect` returns. mounted: paths where something is, but for the root. An overlay has one name for a folder: none is
    shown twice, nor around another."""
    shown: dict[str, str] = {}
    within: dict[str, str] = {}
    for path, folder in wanted.items():
        real = os.path.realpath(folder)
        if real == "/" or any(_is_within(real, point) for point in mounted):
            continue
        outer = [other for other in shown if _is_within(real, shown[other])]
        if outer:
            within[path] = outer[0] + real[len(shown[outer[0]]) :]
        elif not any(_is_within(other, real) for other in shown.values()):
            shown[path] = real
    return shown, within


def mount(layers: list[str], place: str) -> None:
    """layers: the first above the others, the host's root the last."""
    options = "redirect_dir=follow,lowerdir=" + ":".join(layers)
    libc.mount("overlay", place, "overlay", READ_ONLY | NO_SUID | NO_DEV, options)


def mount_for_sandbox(layers: list[str]) -> None:
    """In a sandbox's own mount table, at SANDBOX. The whole of the overlay lies below its part from then on: to have it back
    takes the right to unmount, and so does the host's root."""
    mount(layers, SANDBOX)
    libc.mount(SANDBOX + ROOT, SANDBOX, None, BIND)
    libc.mount(SANDBOX + EMPTY, HOST, None, BIND)


def _mount_points() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        points = [_unescaped(line.split(" ")[4]) for line in file]
    return [point for point in points if point != "/"]


def _unescaped(path: str) -> str:
    """As the kernel writes spaces and the like."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), path)


def _is_within(path: str, folder: str) -> bool:
    return (path + "/").startswith(folder + "/")
