"""The frontend service: the one place where the HTTP API's parts are put together."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable

import uvicorn
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from services.frontend.apis.events.context import EventsContext
from services.frontend.apis.events.operations import events
from services.frontend.apis.lambda_ import package_links
from services.frontend.apis.lambda_.context import ControlContext
from services.frontend.apis.lambda_.operations import lambda_api
from services.frontend.apis.scheduler.operations import scheduler_api
from services.frontend.apis.secrets import operations as secrets
from services.frontend.apis.sns.context import SnsContext
from services.frontend.apis.sns.operations import sns_api
from services.frontend.apis.sqs.context import SqsContext, loader
from services.frontend.apis.sqs.operations import sqs
from services.frontend.apis.sts.operations import sts
from services.frontend.app import FrontendApp, NoBrowsers
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.http_bounds import HttpBounds
from services.frontend.edge.http_protocol import protocol_class
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
from services.frontend.ledger.actions import LedgerActions
from services.frontend.ledger.dead_letters import DeadLetterRedrive
from services.frontend.ledger.routes import LedgerApp
from services.frontend.native import NativeApp
from services.frontend.urls.routes import FunctionUrlApp
from shared.aws.routing import Router
from shared.aws.service_model import load_service_model
from shared.aws.signatures import session_tokens
from shared.aws.signatures.sigv4 import FindSecret, Verifier
from shared.dispatch.cell.announce import Announcer
from shared.dispatch.cell.directory import WorkerDirectory
from shared.dispatch.cell.engines import EngineAnnouncer
from shared.dispatch.client.dispatcher import Dispatcher
from shared.dispatch.client.invoker import FunctionInvoker
from shared.domain.errors import ConfigurationError
from shared.domain.function_urls import UrlHosts
from shared.events.archive_topics import ArchiveTopics
from shared.events.bus_queue import BusQueue
from shared.events.queue import AsyncQueue
from shared.ledger.writer import LedgerWriter
from shared.queues.moves import MoveTasks
from shared.queues.queues import Queues
from shared.queues.upkeep import sweep_queues
from shared.registry.cache import TargetCache
from shared.registry.events.cache import BusCache
from shared.registry.registry import Registry
from shared.registry.topic_cache import TopicCache
from shared.registry.url_cache import UrlCache
from shared.settings import FrontendSettings, Settings
from shared.sns.publisher import Publisher
from shared.telemetry.health import Health
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.frontend")

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
START_TIMEOUT_S = 15.0
DRAIN_S = 6
CLOSE_TIMEOUT_S = 2.0
LISTEN_BACKLOG = 1_024
ANNOUNCE_CONNECTIONS_MAX = 16


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Answer the API until `stop` is set; then finish what runs, at most DRAIN_S. Raises ConfigurationError."""
    find_secret = check_access(settings.frontend, settings.cluster_secret.get_secret_value().encode())
    listener = listen(settings.frontend)
    parts = Parts(settings)
    request_ids = RequestIds()
    native = NativeApp(Health("frontend", {"parts": parts.problem}))
    hosts = UrlHosts(settings.frontend.domain)
    app = FrontendApp(native, request_ids, hosts)
    guarded = app if find_secret is not None else NoBrowsers(app, request_ids, hosts)
    server = FrontendServer(server_config(guarded, settings.frontend))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="frontend-server")
    starting = asyncio.create_task(parts.start(app, native, request_ids, find_secret), name="frontend-parts")
    stopping = asyncio.create_task(stop.wait(), name="frontend-stop")
    log.info("listening on http://%s:%d", *listener.getsockname()[:2])
    try:
        done, _ = await asyncio.wait({serving, stopping, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting in done:
            # A part that can never start ends the service; after a good start only the stop does.
            await starting
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        starting.cancel()
        stopping.cancel()
        server.stop()
        await asyncio.gather(serving, starting, return_exceptions=True)
        await parts.close()


def server_config(app: FrontendApp | NoBrowsers, settings: FrontendSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_class(HttpBounds.of(settings), app.serve),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )


class Parts:
    """Everything behind the API, each started as soon as its engine answers, however long that takes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: dict[str, str] = {"frontend": "starting"}
        self._stack = contextlib.AsyncExitStack()
        self._checks: list[Callable[[], str | None]] = []

    def problem(self) -> str | None:
        """For readiness: what has not started yet and why, or what has stopped working."""
        if self._waiting:
            return "; ".join(f"{name}: {why}" for name, why in sorted(self._waiting.items()))
        return next(filter(None, (check() for check in self._checks)), None)

    async def start(self, app: FrontendApp, native: NativeApp, request_ids: RequestIds, find_secret: FindSecret | None) -> None:
        """Returns when everything is there. The API opens before that, once the registry answers: what needs Redis or Kafka
        is refused until they do. Raises ConfigurationError."""
        queue = AsyncQueue(self._settings)
        dispatcher = Dispatcher(self._settings, role="frontend")
        self._checks = [dispatcher.problem, queue.problem]
        self._waiting = {"registry": "starting", "dispatch": "starting", "events": "starting"}
        try:
            async with asyncio.TaskGroup() as group:
                self._stack.push_async_callback(queue.close)
                group.create_task(self._until_started("events", queue.open))
                # Before it is open: a stop in the middle of that must not leave its connections behind.
                self._stack.push_async_callback(dispatcher.close)
                await self._until_started("dispatch", dispatcher.open)
                await self._open(app, native, request_ids, find_secret, dispatcher, queue)
        except* ConfigurationError as errors:
            raise errors.exceptions[0] from None
        # What was made at start lives as long as the process: the collector need not look at it, in the middle of a request.
        gc.collect()
        gc.freeze()
        log.info("ready")

    async def _open(
        self,
        app: FrontendApp,
        native: NativeApp,
        request_ids: RequestIds,
        find_secret: FindSecret | None,
        dispatcher: Dispatcher,
        queue: AsyncQueue,
    ) -> None:
        settings = self._settings
        model = load_service_model()
        router = Router(model.operations.values())
        registry = Registry(settings)
        self._stack.push_async_callback(registry.close)
        # An unreachable database is waited for here; for `migrate` it would be the operator's mistake.
        await self._until_started("registry", registry.open)
        await self._until_started("registry", registry.migrate)
        cache = TargetCache(registry, settings)
        resolver = InvocableResolver(cache)
        homes = Homes.of(settings)
        verifier = None
        if find_secret is not None:
            regions = [home.region for home in homes.all]
            verifier = Verifier(regions=regions, service="lambda", find_secret=find_secret)
        callers = Callers(settings.account_id, settings.cluster_secret.get_secret_value().encode())
        reader = RequestReader(verifier, BodyReader(), callers, homes)
        metrics = InvokeMetrics()
        REGISTRY.register(metrics)
        self._stack.callback(REGISTRY.unregister, metrics)
        requests = InvokeRequests(router)
        invoker = FunctionInvoker(resolver, dispatcher)
        invokes = Invokes(
            requests=requests,
            reader=reader,
            invoker=invoker,
            resolver=resolver,
            queue=queue,
            request_ids=request_ids,
            metrics=metrics,
            queue_wait_s=settings.frontend.queue_wait_s,
        )
        redis = Redis.from_url(
            settings.redis_url,
            socket_timeout=settings.dispatch.redis_timeout_s,
            socket_connect_timeout=settings.dispatch.connect_timeout_s,
            max_connections=ANNOUNCE_CONNECTIONS_MAX,
        )
        self._stack.push_async_callback(redis.aclose)
        telling = supervise("engine-addresses", EngineAnnouncer(redis, settings, queue.brokers).run)
        self._stack.callback(telling.cancel)
        actions = LedgerActions(settings, queue, LedgerWriter(settings, queue.producer), invoker, resolver, request_ids)
        queues = await self._queue_engine(registry)
        letters = DeadLetterRedrive(queues, registry, actions)
        native.events = LedgerApp(settings, registry, reader, request_ids, actions, letters)
        urls = UrlCache(registry, settings)
        dispatcher.on_urls_changed = urls.forget
        context = ControlContext(
            settings,
            homes,
            registry,
            Announcer(redis, settings.dispatch),
            targets=cache,
            urls=urls,
            workers=WorkerDirectory(redis, settings.dispatch),
        )
        self._stack.push_async_callback(context.close)
        native.download = functools.partial(package_links.download, settings, registry.packages)
        forwarder = Forwarder(settings, reader, request_ids)
        self._stack.push_async_callback(forwarder.close)
        apis = [lambda_api(context), *self._further_apis(registry, queue, queues)]
        if not forwarder.reaches(secrets.SERVICE):
            apis.append(secrets.connection_secrets(registry))
        control = EndpointApp(apis, reader, request_ids, forwarder, regions=homes.regions)
        function_urls = FunctionUrlApp(
            urls=urls,
            hosts=UrlHosts(settings.frontend.domain),
            reader=reader,
            invoker=invoker,
            request_ids=request_ids,
            metrics=metrics,
            secret=settings.cluster_secret.get_secret_value().encode(),
            account_id=settings.account_id,
            queue_wait_s=settings.frontend.queue_wait_s,
        )
        app.ready(invokes.serve, control, function_urls)
        await self._until_started("functions left pending", context.start)

    def _further_apis(self, registry: Registry, queue: AsyncQueue, queues: Queues) -> list[Api]:
        """Of what is always served beside Lambda."""
        return [
            self._event_buses(registry, queue),
            self._queues(registry, queues),
            scheduler_api(registry),
            sns_api(self._sns(registry, queue)),
            sts(self._settings.account_id),
        ]

    def _event_buses(self, registry: Registry, queue: AsyncQueue) -> Api:
        put = BusQueue(self._settings, queue.producer).put
        return events(EventsContext(registry, BusCache(registry), ArchiveTopics(self._settings), put))

    async def _queue_engine(self, registry: Registry) -> Queues:
        queues = Queues.of(self._settings, loader(registry), name="frontend")
        self._stack.push_async_callback(queues.close)
        await queues.open()
        self._checks.append(queues.problem)
        return queues

    def _queues(self, registry: Registry, queues: Queues) -> Api:
        moves, stop = MoveTasks(queues), asyncio.Event()
        self._stack.callback(supervise("move-tasks", lambda: moves.run(stop)).cancel)
        self._stack.callback(supervise("queue-upkeep", lambda: sweep_queues(queues, stop)).cancel)
        return sqs(SqsContext(registry, queues, moves, self._settings.queues.deleted_name_wait_s))

    def _sns(self, registry: Registry, queue: AsyncQueue) -> SnsContext:
        publisher = Publisher(self._settings, queue.producer)
        self._stack.push_async_callback(publisher.close)
        return SnsContext(registry, TopicCache(registry), publisher, self._settings.account_id)

    async def _until_started(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        """Try again until it works: an engine may come up long after this process. A ConfigurationError is final."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            try:
                async with asyncio.timeout(START_TIMEOUT_S):
                    await start()
                break
            except ConfigurationError:
                raise
            except Exception as error:
                why = str(error) or type(error).__name__
                if self._waiting.get(name) != why:
                    log.warning("%s is not there yet: %s", name, why)
                self._waiting[name] = why
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        self._waiting.pop(name, None)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._stack.aclose()
        except Exception as error:
            log.warning("not everything closed in time: %s", str(error) or type(error).__name__)


def check_access(settings: FrontendSettings, cluster_secret: bytes = b"") -> FindSecret | None:
    """How secrets are found; None when signatures are not checked, which is for loopback only. Raises ConfigurationError.

    cluster_secret: what temporary credentials are issued with; empty for none.
    """
    if not settings.auth:
        if not _is_loopback(settings.host):
            raise ConfigurationError(
                f"authentication is off, but the endpoint would listen on {settings.host}: turn it on "
                "(LAMBDAD_FRONTEND__AUTH=true) or listen on 127.0.0.1"
            )
        log.warning("AUTHENTICATION IS OFF: whoever reaches %s:%d may run and change everything", settings.host, settings.port)
        return None
    key_id = settings.root_access_key_id
    secret = settings.root_secret_access_key.get_secret_value().encode()
    if not key_id or not secret:
        raise ConfigurationError(
            "no root key: set LAMBDAD_FRONTEND__ROOT_ACCESS_KEY_ID and LAMBDAD_FRONTEND__ROOT_SECRET_ACCESS_KEY"
        )

    def find_secret(access_key_id: str, session_token: str | None) -> bytes | None:
        """The root key is a long-term one: it never comes with a session token. Temporary ones always do."""
        if session_token is not None:
            return session_tokens.find_secret(cluster_secret, access_key_id, session_token, time.time())
        return secret if access_key_id == key_id else None

    return find_secret


def listen(settings: FrontendSettings) -> socket.socket:
    """A listening socket. Raises ConfigurationError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(LISTEN_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. Choose another port "
            "(LAMBDAD_FRONTEND__PORT) or stop what uses it"
        ) from error
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
