"""The platforms that are measured side by side: ours and the others, behind one small interface."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from tests.bench.signing import Endpoint


class HttpPeer(Protocol):
    """A platform that is invoked over Lambda's HTTP API. kind: a key of `tests.bench.functions.SOURCES`."""

    name: str
    warm_kind: str
    """Which function its warm figures are of: the one that it runs best."""

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        """Install if needed and start; `cold` says how many functions of each kind will be asked for later, in all.
        Raises PeerError."""

    def endpoint(self) -> Endpoint: ...

    def warm_function(self) -> str: ...

    def cold_functions(self, kind: str, count: int) -> list[str]:
        """Names of functions that were never invoked."""

    def stop(self) -> None: ...
