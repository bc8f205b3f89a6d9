"""Where a cluster keeps what on disk: one data directory, and what of the checkout it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deploy.local.launch import views_can_be_private

CHECKOUT = Path(__file__).resolve().parents[2]
RUNTIMES = CHECKOUT / ".runtimes"
"""`make setup` puts each interpreter's runtime client there, in a folder named like python3.12."""

CLOSED, PASSABLE = 0o700, 0o711
"""Of the data directory. Passable only where the database's user can reach its own part of it in no other way; all else in it
is closed then, too."""


@dataclass(frozen=True)
class DataDir:
    root: Path

    @staticmethod
    def at(path: Path) -> DataDir:
        return DataDir(path.expanduser().absolute())

    def create(self) -> None:
        """Code, events, logs and secrets are in it: nobody but its owner reads any of it. Raises OSError."""
        self.root.mkdir(mode=CLOSED, parents=True, exist_ok=True)
        self.root.chmod(CLOSED if views_can_be_private() else PASSABLE)
        for folder in (self.logs, self.packages, *(self.root / name for name in ("redis", "kafka"))):
            folder.mkdir(mode=CLOSED, exist_ok=True)
            folder.chmod(CLOSED)

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def packages(self) -> Path:
        return self.root / "packages"

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
