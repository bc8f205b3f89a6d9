"""What the control plane says of versions that can be invoked from now on: workers get ready for their first invocation."""

from __future__ import annotations

import zlib

import msgspec

from shared.domain.functions import Layer

COPIES = 4
"""Workers, of however many, that get ready for one version."""


class Deployment(msgspec.Struct, frozen=True, array_like=True):
    """workers: how many there are, as far as is known. The rest as in `VersionSpec`."""

    runtime: str
    architecture: str
    memory_mb: int
    code_sha256: str
    code_size_bytes: int
    layers: tuple[Layer, ...]
    workers: int

    def is_for(self, worker_id: str) -> bool:
        """By chance, the same for a worker each time: about COPIES of them, without anybody counting."""
        return zlib.crc32(f"{worker_id} {self.code_sha256}".encode()) * self.workers < COPIES * 2**32

    def encode(self) -> bytes:
        return msgspec.json.encode(self)


def decode(document: bytes) -> Deployment:
    """Raises ValueError."""
    return _decoder.decode(document)


_decoder = msgspec.json.Decoder(Deployment)
