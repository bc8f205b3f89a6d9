"""What AWS was seen to do, as records: recorded/<name>.yaml, an entry a behaviour. Each file's head says how its entries are read."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

RECORDED = Path(__file__).parent / "recorded"
UNRECORDED = "unrecorded"
"""The body of an entry whose body was not recorded."""


@dataclass(frozen=True)
class Fact:
    """call: the operation; None for a behaviour of several calls, which a test of its own shows (`covers`).

    protocol: the only one it was recorded in; None where it holds in all. given: sentences, or calls as {operation: parameters,
    "returns": ...}, in order. status: None where it was not seen. error: None for a success.
    body: what the answer's members are, with placeholders; None for an empty body; UNRECORDED. raw: the whole entry.
    """

    id: str
    call: str | None
    protocol: str | None
    given: tuple[str | dict[str, Any], ...]
    request: dict[str, Any]
    status: int | None
    error: str | None
    body: Any
    note: str
    raw: dict[str, Any]

    @property
    def told(self) -> str:
        """Everything that is said of what is given, for a look ahead."""
        return str(self.given)


@functools.cache
def load(name: str) -> tuple[Fact, ...]:
    """name: of the file, without .yaml."""
    return tuple(_fact(entry) for entry in yaml.load((RECORDED / f"{name}.yaml").read_text(), Loader=_LOADER))


@functools.cache
def differing(name: str) -> dict[str, str]:
    """The entries that are not met yet or never will be, each with its reason: <name>_differs.yaml, a reason with its entries."""
    path, found = RECORDED / f"{name}_differs.yaml", dict[str, str]()
    for entry in yaml.safe_load(path.read_text()) or () if path.exists() else ():
        for one in entry["entries"]:
            assert one not in found, f"{one} is twice in {path.name}"
            found[one] = entry["reason"]
    return found


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _fact(entry: dict[str, Any]) -> Fact:
    given = entry.get("given") or []
    return Fact(
        id=entry["id"],
        call=entry.get("call"),
        protocol=entry.get("protocol"),
        given=tuple(given) if isinstance(given, list) else (given,),
        request=entry.get("request") or {},
        status=entry.get("status"),
        error=entry.get("error"),
        body=entry.get("body", UNRECORDED),
        note=str(entry.get("note", "")),
        raw=entry,
    )
