"""Reading and writing the small files by which cgroups are steered."""

from __future__ import annotations

import os

_READ_BYTES = 64 * 1024


def write(folder: str, name: str, text: str) -> None:
    fd = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read(folder: str, name: str) -> str:
    fd = os.open(f"{folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, _READ_BYTES).decode("ascii").strip()
    finally:
        os.close(fd)


def read_keyed(folder: str, name: str, key: str) -> int:
    """The number beside the key in a file of `key number` lines, 0 when it is not there."""
    for line in read(folder, name).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == key:
            return int(words[1])
    return 0
