"""What is heard of a service that is asked whether it is ready."""

from __future__ import annotations

import asyncio
import json

import pytest

from deploy.local.readiness import Said, ask


@pytest.mark.parametrize(
    ("status", "body", "heard"),
    [
        (200, {"problems": {}}, Said(None)),
        (
            200,
            {"problems": {}, "weaker": {"network": "functions reach no network: why"}},
            Said(None, "functions reach no network: why"),
        ),
        (503, {"problems": {"cluster": "no Redis"}, "weaker": {}}, Said("cluster: no Redis")),
        (503, {"problems": {"cluster": "no Redis"}, "weaker": {"network": "less"}}, Said("cluster: no Redis", "less")),
        (500, None, Said("HTTP 500")),
    ],
)
async def test_a_service_says_what_it_lacks_and_what_it_gives_less_of(status: int, body: object, heard: Said) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        document = b"garbage" if body is None else json.dumps(body).encode()
        writer.write(f"HTTP/1.1 {status} Any\r\nconnection: close\r\n\r\n".encode() + document)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        assert await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ready") == heard
