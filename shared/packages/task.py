"""What is to be done with one package, and how it is done wherever it is done. Standard library only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from shared.packages.archive import Archive, Contents
from shared.packages.refusals import PackageRefusedError, UnpackError, shown
from shared.packages.unpack import read_through, unpack

SMALL_UNZIPPED_BYTES_MAX = 1024 * 1024
SMALL_ENTRIES_MAX = 200


class Task(NamedTuple):
    """target: the directory to unpack into, None to read only."""

    target: str | None
    unzipped_bytes_max: int
    entries_max: int

    def carry_out(self, package: bytes) -> Contents:
        """Raises PackageRefusedError, or UnpackError, and nothing else."""
        contents = self._guarded(package, small=False)
        assert contents is not None
        return contents

    def carry_out_small(self, package: bytes) -> Contents | None:
        """As `carry_out`, but nothing is done and None returned for a package that is small only while it is packed."""
        return self._guarded(package, small=True)

    def _guarded(self, package: bytes, *, small: bool) -> Contents | None:
        try:
            archive = Archive(package, self.unzipped_bytes_max, self.entries_max)
            large = archive.declared_bytes > SMALL_UNZIPPED_BYTES_MAX or archive.contents.entries > SMALL_ENTRIES_MAX
            if small and large:
                return None
            return read_through(archive) if self.target is None else unpack(archive, Path(self.target))
        except (PackageRefusedError, UnpackError):
            raise
        except MemoryError as error:
            raise UnpackError("a package cannot be read here: out of memory") from error
        except Exception as error:
            # Nobody foresaw it, but it was the package that led to it: it would do so again.
            raise PackageRefusedError(f"the package cannot be read: {shown(repr(error))}") from error
