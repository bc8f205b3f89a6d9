"""A frontend on a real socket with its real parts, and small recorders behind it in place of dispatch and registry.

What those do behind the frontend is tested in their own areas and end to end; here it is what a client sees.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import boto3
import pytest
from botocore.config import Config

from services.frontend.apis.sts.operations import sts
from services.frontend.app import FrontendApp, NoBrowsers
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.http_server import FrontendServer
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.endpoint.api import Api
from services.frontend.endpoint.app import EndpointApp
from services.frontend.forwarding.app import Forwarder
from services.frontend.invoke.metrics import InvokeMetrics
from services.frontend.invoke.request import InvokeRequests
from services.frontend.invoke.routes import Invokes
from services.frontend.invoke.targets import InvocableResolver
from services.frontend.main import check_access, listen, server_config
from services.frontend.native import NativeApp
from shared.aws.error_rendering import render
from shared.aws.routing import Router
from shared.aws.service_model import load_service_model
from shared.aws.signatures.sigv4 import Verifier
from shared.dispatch.client.run import OnEnd
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.arns import Home
from shared.domain.errors import ResourceNotFoundException, ServiceException
from shared.domain.functions import EventInvokeConfig, InvokeTarget, VersionSpec
from shared.domain.invocations import Invocation, InvocationResult
from shared.events.records import AsyncEvent
from shared.settings import FrontendSettings, Settings
from shared.telemetry.health import Health
from tests.support import PATIENCE_S

KEY, SECRET = "AKIDEXAMPLE", "a-secret"
CLUSTER_SECRET = b"the cluster's own"
SESSION = boto3.session.Session()
ACCOUNT = "000000000000"
HOME, ELSEWHERE = Home(ACCOUNT, "us-east-1"), "eu-west-1"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
"""What begins the ARNs of the functions here; those elsewhere are told by their whole ARN."""
ROUTER = Router(load_service_model().operations.values())


def target(name: str, state: str = "Active") -> InvokeTarget:
    arn = f"{ARN}{name}"
    spec = VersionSpec(
        version_key="k",
        function_id="id",
        function_name=name,
        function_arn=arn,
        version="$LATEST",
        account_id="000000000000",
        region="us-east-1",
        runtime="python3.12",
        handler="h.h",
        code_sha256="",
        memory_mb=128,
        timeout_s=3,
        tmp_mb=512,
        environment={},
        role_arn="",
        log_group="",
    )
    return InvokeTarget(spec, 1, arn, None, None, state, EventInvokeConfig())


class Backend:
    """Records what reached it. `behave` answers invocations; functions whose name begins with no- do not exist."""

    def __init__(self, *, known: bool = True) -> None:
        """known: whether targets are in memory."""
        self.known = known
        self.reset()

    def reset(self) -> None:
        self.invocations: list[tuple[str, str | None, Invocation]] = []
        self.events: list[AsyncEvent] = []
        self.reached = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.state = "Active"
        self.started = 0
        self.behave: Callable[[Invocation], Awaitable[InvocationResult]] = self.echo

    async def echo(self, invocation: Invocation) -> InvocationResult:
        return InvocationResult(payload=invocation.payload, executed_version="$LATEST", log_tail=b"START\nEND\n")

    async def hang(self, invocation: Invocation) -> InvocationResult:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget:
        name = function_arn.rpartition(":")[2]
        if name.startswith("no-"):
            raise ResourceNotFoundException(f"Function not found: {function_arn}:{qualifier or '$LATEST'}")
        return target(name, self.state)

    def cached(self, function_arn: str, qualifier: str | None) -> InvokeTarget | None:
        name = function_arn.rpartition(":")[2]
        return target(name, self.state) if self.known and not name.startswith("no-") else None

    def forget(self, function_arn: str) -> None:
        pass

    async def invoke(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        *,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> InvocationResult:
        self.response = response
        await InvocableResolver(self).resolve(function_arn, qualifier)
        self.invocations.append((function_arn.removeprefix(ARN), qualifier, invocation))
        self.reached.set()
        return await self.behave(invocation)

    def start(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> Callable[[], None]:
        self.started += 1
        running = asyncio.ensure_future(self.invoke(function_arn, qualifier, invocation, wait_s=wait_s, response=response))

        def ended(done: asyncio.Future[InvocationResult]) -> None:
            if done.cancelled():
                return
            error = done.exception()
            assert error is None or isinstance(error, Exception)
            on_end(None if error else done.result(), error)

        running.add_done_callback(ended)
        return lambda: bool(running.cancel()) and None


class EventsBackend:
    """The event queue of a backend: its method has the invoker's name."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def start(self, event: AsyncEvent, on_end: Callable[[ServiceException | None], None]) -> None:
        self._backend.events.append(event)
        asyncio.get_running_loop().call_soon(on_end, None)


class Frontend:
    def __init__(
        self, port: int, backend: Backend, operations: dict[str, Any], app: FrontendApp, server: FrontendServer
    ) -> None:
        self.port = port
        self.backend = backend
        self.operations = operations
        self.app = app
        self.server = server
        self.url = f"http://127.0.0.1:{port}"
        self._clients: dict[tuple[str, str, str], Any] = {}

    def client(self, key: str = KEY, secret: str = SECRET, region: str = HOME.region) -> Any:
        """A boto3 client without retries; its calls block, so tests run them in threads."""
        if (key, secret, region) not in self._clients:
            self._clients[key, secret, region] = SESSION.client(
                "lambda",
                endpoint_url=self.url,
                region_name=region,
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=Config(retries={"max_attempts": 0}, parameter_validation=False, read_timeout=20),
            )
        return self._clients[key, secret, region]

    async def send(self, raw: bytes, *, deadline_s: float = PATIENCE_S) -> bytes:
        """Everything that comes back for these bytes until the server closes the connection."""
        async with asyncio.timeout(deadline_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            with contextlib.suppress(ConnectionError):
                writer.write(raw)
                await writer.drain()
            try:
                return await reader.read()
            finally:
                writer.close()


@contextlib.asynccontextmanager
async def running_frontend(
    *,
    at_hand: bool = True,
    forward: dict[str, str] | None = None,
    sign: dict[str, Any] | None = None,
    apis: Sequence[Api] = (),
    **settings: Any,
) -> AsyncIterator[Frontend]:
    """at_hand: requests that came whole are read at once and targets are in memory; otherwise all that takes a task.

    apis: served beside the recorders.
    """
    chosen = FrontendSettings(port=0, root_access_key_id=KEY, root_secret_access_key=SECRET, **settings)
    listener: socket.socket = listen(chosen)
    request_ids, backend = RequestIds(), Backend(known=at_hand)
    operations: dict[str, Any] = {}
    find, homes = check_access(chosen, CLUSTER_SECRET), Homes(HOME, (ELSEWHERE,))
    verifier = (
        None if find is None else Verifier(regions=[home.region for home in homes.all], service="lambda", find_secret=find)
    )
    reader = RequestReader(verifier, BodyReader(), Callers(HOME.account_id, CLUSTER_SECRET), homes)
    app = FrontendApp(NativeApp(Health("frontend", {"engine": lambda: None})), request_ids)
    server = FrontendServer(server_config(app if find is not None else NoBrowsers(app, request_ids), chosen))
    requests, metrics = InvokeRequests(ROUTER), InvokeMetrics()
    invokes = Invokes(
        requests=requests,
        reader=reader,
        invoker=backend,
        resolver=InvocableResolver(backend),
        queue=EventsBackend(backend),
        request_ids=request_ids,
        metrics=metrics,
        queue_wait_s=1.0,
    )
    if not at_hand:
        invokes._whole = lambda exchange, request_id: None  # type: ignore[method-assign]
    api = Api(load_service_model(), operations, render=render)
    given = {"frontend": chosen, "forward": forward or {}, "forward_sign": sign or {}}
    forwarder = Forwarder(Settings.model_validate(given), reader, request_ids)
    control = EndpointApp((api, sts("000000000000"), *apis), reader, request_ids, forwarder, regions=homes.regions)
    app.ready(invokes.serve, control)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Frontend(listener.getsockname()[1], backend, operations, app, server)
    finally:
        server.stop()
        async with asyncio.timeout(PATIENCE_S):
            await serving
        await forwarder.close()


@pytest.fixture(scope="session", params=["at hand", "waited for"])
async def signed_frontend(request: pytest.FixtureRequest) -> AsyncIterator[Frontend]:
    async with running_frontend(at_hand=request.param == "at hand") as found:
        yield found


@pytest.fixture
def frontend(signed_frontend: Frontend) -> Frontend:
    signed_frontend.backend.reset()
    signed_frontend.operations.clear()
    return signed_frontend


@pytest.fixture(scope="session")
async def unsigned_frontend() -> AsyncIterator[Frontend]:
    async with running_frontend(
        auth=False,
        request_header_timeout_s=0.6,
        request_body_timeout_s=0.8,
        keep_alive_timeout_s=1.0,
        header_bytes_max=8_192,
    ) as found:
        yield found


@pytest.fixture
def open_frontend(unsigned_frontend: Frontend) -> Frontend:
    """Without signatures and with short deadlines: for tests that speak HTTP by hand."""
    unsigned_frontend.backend.reset()
    return unsigned_frontend
