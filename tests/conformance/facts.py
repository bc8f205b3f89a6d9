"""management.yaml as records: what AWS was seen to answer, an entry a behaviour. Its head says how an entry is read."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
UNRECORDED = "unrecorded"
"""The body of an entry whose body was not recorded."""


@dataclass(frozen=True)
class Fact:
    """given: sentences, or calls as {operation: parameters, "returns": sentence}, in order. error: None for a success.

    body: what the answer's JSON is, with placeholders; None for an empty body; UNRECORDED.
    """

    id: str
    call: str
    given: tuple[str | dict[str, Any], ...]
    request: dict[str, Any]
    status: int
    error: str | None
    body: Any
    note: str

    @property
    def told(self) -> str:
        """Everything that is said of what is given, for a look ahead."""
        return str(self.given)


@functools.cache
def load() -> tuple[Fact, ...]:
    return tuple(_fact(entry) for entry in yaml.safe_load((HERE / "management.yaml").read_text()))


@functools.cache
def differing() -> dict[str, str]:
    """The entries that are not met yet or never will be, each with its reason: differs.yaml, a reason with its entries."""
    found: dict[str, str] = {}
    for entry in yaml.safe_load((HERE / "differs.yaml").read_text()) or ():
        for name in entry["entries"]:
            assert name not in found, f"{name} is twice in differs.yaml"
            found[name] = entry["reason"]
    return found


def _fact(entry: dict[str, Any]) -> Fact:
    given = entry.get("given") or []
    return Fact(
        id=entry["id"],
        call=entry["call"],
        given=tuple(given) if isinstance(given, list) else (given,),
        request=entry["request"],
        status=entry["status"],
        error=entry.get("error"),
        body=entry.get("body", UNRECORDED),
        note=entry.get("note", ""),
    )
