"""The Telemetry API and the older Logs API of one sandbox: extensions subscribe while they initialise."""

from __future__ import annotations

from collections.abc import Callable

from services.worker.sandbox.runtime_api.extensions.registry import Registry
from services.worker.sandbox.runtime_api.surface import Reply
from services.worker.sandbox.runtime_api.telemetry.hub import TelemetryHub
from services.worker.sandbox.runtime_api.telemetry.subscription import Api, read
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.runtime_api.wire.connection import EXTENSION_ID, Connection, Request
from services.worker.telemetry.events import TelemetrySubscription

PATHS = {"/2022-07-01/telemetry": Api.TELEMETRY, "/2020-08-15/logs": Api.LOGS}
BODY_BYTES_MAX = 64 * 1024


class TelemetryCalls:
    """Implements `surface.Surface`. registry: gives that of the extensions that run now."""

    def __init__(
        self, registry: Callable[[], Registry], hub: TelemetryHub, on_subscribed: Callable[[TelemetrySubscription], None]
    ) -> None:
        self._registry = registry
        self._hub = hub
        self._on_subscribed = on_subscribed

    @staticmethod
    def api_of(path: str) -> Api | None:
        return PATHS.get(path.partition("?")[0].removesuffix("/"))

    def on_head(self, connection: Connection, request: Request) -> None:
        request.body_bytes_max = BODY_BYTES_MAX

    def on_closed(self, connection: Connection) -> None:
        """Nobody waits here."""

    def answer(self, connection: Connection, request: Request) -> Reply:
        api = self.api_of(request.path)
        if api is None:
            raise replies.unknown_path()
        if request.method != "PUT":
            raise replies.wrong_method()
        if request.truncated:
            raise replies.truncated()
        registry = self._registry()
        extension = registry.with_id(request.headers.get(EXTENSION_ID))
        if not self._hub.open:
            raise replies.ApiError(403, f"{api.value}.SubscriptionClosed", f"{api.value} API subscription is closed")
        subscription = read(api, request.body)
        self._on_subscribed(self._hub.subscribe(extension.name, subscription))
        return replies.document("OK")
