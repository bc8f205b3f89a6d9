"""The way from a caller to a worker on another host: TLS, a certificate on both sides, and nobody without one gets further."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import uvloop

from services.worker.callers.server import WorkerServer
from shared.dispatch.cell.keys import Keys
from shared.dispatch.cell.leases import Lease, Version
from shared.dispatch.wire.connection import WorkerConnection
from shared.dispatch.wire.messages import ResultHeader
from shared.dispatch.wire.tls import for_caller, for_worker
from shared.domain.errors import ConfigurationError
from shared.settings import DispatchSettings
from tests.certificates import Authority
from tests.integration.dispatch.conftest import target
from tests.integration.worker.cluster import SECRET, TestWorker, header_for
from tests.integration.worker.process_sandbox import ProcessPool
from tests.support import PATIENCE_S

ECHO = "def handler(event, context):\n    return event\n"


@contextlib.asynccontextmanager
async def listening(worker: TestWorker, dispatch: DispatchSettings) -> AsyncIterator[WorkerServer]:
    server = WorkerServer(worker.settings.model_copy(update={"dispatch": dispatch}), worker.fleet)
    await server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


async def connect(
    server: WorkerServer, dispatch: DispatchSettings | None, host: str = "127.0.0.1", secret: str = SECRET
) -> WorkerConnection[Lease]:
    return await WorkerConnection.connect(
        f"{host}:{server.port}",
        secret=secret.encode(),
        role="frontend",
        instance="caller",
        timeout_s=3.0,
        on_end=lambda lease, outcome: None,
        on_lost=lambda connection: None,
        tls=None if dispatch is None else for_caller(dispatch),
    )


async def echoed(connection: WorkerConnection[Lease], worker: TestWorker, payload: bytes) -> bytes:
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_result(header: ResultHeader | None, response: bytes, error: Exception | None) -> None:
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(response)

    lease = Lease(Version(target(), Keys("0"), "h", 10), b"e-1@w#1.1", "u", True, False, "")
    header = header_for(worker.function(ECHO), "e-1", payload, cold=True)
    connection.invoke(lease, header, payload, 20.0, on_result)
    async with asyncio.timeout(PATIENCE_S):
        return await answer


async def test_events_and_responses_of_any_size_go_through(worker: TestWorker, authority: Authority) -> None:
    dispatch = authority.settings("127.0.0.1")
    async with listening(worker, dispatch) as server:
        connection = await connect(server, dispatch)
        event = "x" * 5_000_000
        assert msgspec.json.decode(await echoed(connection, worker, msgspec.json.encode(event))) == event
        connection.close()


def test_it_is_the_same_on_the_loop_that_services_run_on(pool: ProcessPool, tmp_path: Path, authority: Authority) -> None:
    async def main() -> None:
        worker = TestWorker(tmp_path, pool)
        await worker.start()
        dispatch = authority.settings("127.0.0.1")
        async with listening(worker, dispatch) as server:
            connection = await connect(server, dispatch)
            event = "x" * 2_000_000
            assert msgspec.json.decode(await echoed(connection, worker, msgspec.json.encode(event))) == event
            with pytest.raises(OSError, match=r"(?i)certificate|ssl|reset|closed|lost"):
                await connect(server, Authority(tmp_path / "another", "another").settings("127.0.0.1"))
            connection.close()
        await worker.stop()

    uvloop.run(main())


async def test_a_caller_without_a_certificate_of_the_clusters_gets_nowhere(
    worker: TestWorker, authority: Authority, tmp_path: Path
) -> None:
    async with listening(worker, authority.settings("127.0.0.1")) as server:
        with pytest.raises((OSError, TimeoutError)):
            await connect(server, None)
        # It trusts the worker, and shows what another authority gave it.
        stranger = Authority(tmp_path / "another", "another").settings("127.0.0.1", tls_ca_file=authority.ca_file)
        with pytest.raises((OSError, TimeoutError)):
            await connect(server, stranger)
        assert not server.connections


async def test_a_certificate_does_not_stand_for_the_secret(worker: TestWorker, authority: Authority) -> None:
    dispatch = authority.settings("127.0.0.1")
    async with listening(worker, dispatch) as server:
        with pytest.raises(Exception, match=r"(?i)secret|handshake|lost|refused"):
            await connect(server, dispatch, secret="another")


async def test_a_worker_is_taken_for_who_its_certificate_names(
    worker: TestWorker, authority: Authority, tmp_path: Path
) -> None:
    async with listening(worker, authority.settings("10.9.8.7")) as server:
        with pytest.raises(OSError, match=r"(?i)certificate"):
            await connect(server, authority.settings("127.0.0.1"))
    async with listening(worker, authority.settings("localhost")) as server:
        connection = await connect(server, authority.settings("127.0.0.1"), host="localhost")
        connection.close()


def test_half_of_the_settings_is_refused_and_so_are_files_that_are_none(authority: Authority, tmp_path: Path) -> None:
    whole = authority.settings("127.0.0.1")
    with pytest.raises(ConfigurationError, match="LAMBDAD_DISPATCH__TLS_KEY_FILE"):
        for_worker(whole.model_copy(update={"tls_key_file": None}))
    with pytest.raises(ConfigurationError, match="nowhere"):
        for_caller(whole.model_copy(update={"tls_ca_file": tmp_path / "nowhere"}))
    assert for_worker(DispatchSettings()) is None
