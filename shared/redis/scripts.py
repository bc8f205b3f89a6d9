"""Lua scripts of a folder, by name, as commands ready to be written to Redis."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_INCLUDE = re.compile(rb"^ *-- include ([a-z_]+)$", re.MULTILINE)
Argument = str | bytes | int | float


def bulk(value: Argument) -> bytes:
    """One argument as Redis reads it."""
    data = value if isinstance(value, bytes) else str(value).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def pack(*words: Argument) -> bytes:
    """A plain command."""
    return b"*%d\r\n%b" % (len(words), b"".join(map(bulk, words)))


class Script:
    """One script. Commands call it by hash; `by_body` turns such a command into one that carries the script itself."""

    __slots__ = ("_called", "_carried", "body", "name", "sha1")

    def __init__(self, name: str, body: bytes) -> None:
        self.name = name
        self.body = body
        self.sha1 = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        self._called = b"$7\r\nEVALSHA\r\n" + bulk(self.sha1)
        self._carried = b"$4\r\nEVAL\r\n" + bulk(body)

    def command(self, keys: tuple[str, ...], *arguments: Argument) -> bytes:
        """A complete call."""
        return self.prefix(keys, len(arguments), *arguments)

    def prefix(self, keys: tuple[str, ...], argument_count: int, *arguments: Argument) -> bytes:
        """A call whose last `argument_count - len(arguments)` arguments are still to be appended, each as `bulk`."""
        return self.head(len(keys), argument_count) + self.tail(keys, *arguments)

    def by_body(self, command: bytes) -> bytes:
        """The same call for a Redis that does not know the script (NOSCRIPT)."""
        return command.replace(self._called, self._carried, 1)

    def head(self, key_count: int, argument_count: int) -> bytes:
        """How a call with so many keys and arguments begins; what `tail` made follows, then the rest of the arguments."""
        return b"*%d\r\n%b" % (3 + key_count + argument_count, self._called)

    def tail(self, keys: tuple[str, ...], *arguments: Argument) -> bytes:
        """The keys and first arguments of a call that begins with `head`."""
        return b"".join(map(bulk, (len(keys), *keys, *arguments)))

    def load_command(self) -> bytes:
        return pack("SCRIPT", "LOAD", self.body)


class Folder:
    """The scripts of one folder, each read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read: dict[str, Script] = {}

    def script(self, name: str) -> Script:
        """<name>.lua, with parts/<part>.lua wherever it says `-- include <part>`."""
        if name not in self._read:
            body = (self._path / f"{name}.lua").read_bytes()
            self._read[name] = Script(name, _INCLUDE.sub(lambda found: self._part(found[1].decode()), body))
        return self._read[name]

    def all(self) -> list[Script]:
        return [self.script(path.stem) for path in sorted(self._path.glob("*.lua"))]

    def _part(self, name: str) -> bytes:
        return (self._path / "parts" / f"{name}.lua").read_bytes()
