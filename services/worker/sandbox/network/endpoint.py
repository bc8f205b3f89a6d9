"""Whether the cluster's endpoint answers where this worker leads its functions. On a host without a frontend it may not, and
then every call of a function to its own cluster would fail without a reason that an operator sees."""

from __future__ import annotations

import asyncio
import logging
import time

log = logging.getLogger("lambdad.worker")

LOOK_INTERVAL_S, SILENT_INTERVAL_S = 60.0, 2.0
ANSWER_TIMEOUT_S = 5.0
PATIENCE_S = 20.0
"""Frontends start beside workers, and are started again."""
_REQUEST = "GET /_lambdad/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"


class EndpointWatch:
    """address: of the endpoint, from this host. problem: for people, None while it answers."""

    def __init__(self, address: tuple[str, int], patience_s: float = PATIENCE_S) -> None:
        self._host, self._port = address
        self._patience_s = patience_s
        self.problem: str | None = None

    async def run(self) -> None:
        """Until cancelled."""
        answered_at = time.monotonic()
        while True:
            failure = await self._failure()
            if failure is None:
                answered_at = time.monotonic()
            if failure is None or time.monotonic() - answered_at >= self._patience_s:
                self._tell(failure)
            await asyncio.sleep(LOOK_INTERVAL_S if failure is None else min(SILENT_INTERVAL_S, self._patience_s))

    def weaker(self) -> dict[str, str]:
        """For the service's health."""
        return {} if self.problem is None else {"endpoint": self.problem}

    def _tell(self, failure: str | None) -> None:
        where = f"{self._host}:{self._port}"
        before, self.problem = self.problem, None
        if failure is not None:
            self.problem = (
                f"functions do not reach the cluster's endpoint, no frontend answers at {where} ({failure}): set "
                "LAMBDAD_NETWORK__ENDPOINT_HOST and LAMBDAD_NETWORK__ENDPOINT_PORT to where this host finds one"
            )
            if before is None:
                log.warning("%s", self.problem)
        elif before is not None:
            log.info("the cluster's endpoint answers at %s", where)

    async def _failure(self) -> str | None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(self._host, self._port)
                try:
                    writer.write(_REQUEST.format(host=self._host).encode())
                    status = (await reader.readline()).split()
                finally:
                    writer.transport.abort()
        except TimeoutError:
            return "no answer in time"
        except (OSError, ValueError) as error:
            return str(error)
        return None if status[1:2] == [b"200"] else "something else is there"
