"""Asking a service whether it is ready."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import msgspec

TIMEOUT_S = 2.0
RESPONSE_BYTES_MAX = 64 * 1024


class _Answer(msgspec.Struct):
    problems: dict[str, str] = {}
    weaker: dict[str, str] = {}


class Said(msgspec.Struct, frozen=True):
    """problem: None when the service is ready, else what it says is missing. weaker: what it gives less of than was wanted."""

    problem: str | None
    weaker: str | None = None


async def service_problem(url: str) -> str | None:
    """None when the service at `url` answers 200, else what it says is missing."""
    return (await ask(url)).problem


async def ask(url: str) -> Said:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
                answer = await _read(reader)
            finally:
                writer.close()
    except TimeoutError:
        return Said(f"no answer within {TIMEOUT_S:.0f} s")
    except OSError as error:
        return Said(error.strerror or str(error))
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    try:
        said = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError:
        said = _Answer()
    weaker = "; ".join(said.weaker.values()) or None
    if status == [b"200"]:
        return Said(None, weaker)
    problem = "; ".join(f"{name}: {text}" for name, text in said.problems.items())
    return Said(problem or f"HTTP {b''.join(status).decode() or 'garbage'}", weaker)


async def _read(reader: asyncio.StreamReader) -> bytes:
    received = b""
    while len(received) < RESPONSE_BYTES_MAX:
        chunk = await reader.read(RESPONSE_BYTES_MAX)
        if not chunk:
            break
        received += chunk
    return received
