"""Where a cluster keeps what on disk: one data directory, and what of the checkout it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
RUNTIMES = CHECKOUT / ".runtimes"
"""`make setup` puts each interpreter's runtime client there, in a folder named like python3.12."""

DIRECTORY_MODE = 0o711
"""Others may pass (the engines' and functions' users must reach their own parts of it) but not look around."""


@dataclass(frozen=True)
class DataDir:
    root: Path

    @staticmethod
    def at(path: Path) -> DataDir:
        return DataDir(path.expanduser().absolute())

    def create(self) -> None:
        """Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(DIRECTORY_MODE)
        self.logs.mkdir(exist_ok=True)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        return self.root / "supervisor.lock"

    @property
    def credentials(self) -> Path:
        return self.root / "credentials.json"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    def log(self, child: str) -> Path:
        return self.logs / f"{child}.log"
