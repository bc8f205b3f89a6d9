"""A family: runtimes that one zygote serves."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Family(msgspec.Struct, frozen=True):
    """How sandboxes of these runtimes are made.

    name: python3.12, nodejs or provided. interpreter: the Python that the zygote is. prefixes: host folders beyond /usr that
    sandboxes see. runtime_dir: becomes /var/runtime. language_root: what /var/lang leads to. preload: whether the runtime
    client and the SDK are imported before the fork. kind and argv: see sandbox/protocol.py.
    """

    name: str
    interpreter: Path
    prefixes: tuple[Path, ...]
    runtime_dir: Path | None
    language_root: Path | None
    preload: bool
    kind: str
    argv: tuple[str, ...] = ()
    http: bool = False
