"""The yardstick: an application that answers a request with its own body, on the server that the frontend is built on. It has no
signatures, no functions and no processes behind it; what a platform adds is seen beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.bench.install import ROOT
from tests.bench.processes import Child, free_port, listens
from tests.bench.report import ECHO
from tests.bench.signing import Endpoint

START_TIMEOUT_S = 20.0


class Echo:
    name = ECHO
    warm_kind = "echo"

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        del cold
        self._port = free_port()
        command = [sys.executable, "-m", "tests.bench.peers.echo", str(self._port)]
        self._child = Child(command, log=workdir / "echo.log", cwd=ROOT)
        self._child.wait_until(lambda: listens(self._port), deadline_s=START_TIMEOUT_S, what="the echo")

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)

    def warm_function(self) -> str:
        return "echo"

    def cold_functions(self, kind: str, count: int) -> list[str]:
        raise NotImplementedError("an echo has no cold start")

    def stop(self) -> None:
        if self._child:
            self._child.stop()


async def application(scope, receive, send):  # type: ignore[no-untyped-def]
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(
        application,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )
