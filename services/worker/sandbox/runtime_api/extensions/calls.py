"""The Extensions API of one sandbox: what each call does. Who takes part: registry.py; what follows from it: phases.py."""

from __future__ import annotations

from typing import Protocol

import msgspec

from services.worker.sandbox.runtime_api.extensions.machine import Call, IllegalTransitionError, State
from services.worker.sandbox.runtime_api.extensions.registry import NAME_CHARACTERS_MAX, Extension, Registry
from services.worker.sandbox.runtime_api.surface import Reply
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.runtime_api.wire.connection import (
    EXTENSION_ERROR_TYPE,
    EXTENSION_FEATURES,
    EXTENSION_ID,
    EXTENSION_NAME,
    Connection,
    Request,
)

PREFIX = "/2020-01-01/extension/"
BODY_BYTES_MAX = 64 * 1024
_METHODS = {"register": "POST", "event/next": "GET", "init/error": "POST", "exit/error": "POST"}
_ACCOUNT_FEATURE = "accountId"


class Function(msgspec.Struct, frozen=True):
    """What an extension is told of the function that it extends."""

    name: str
    version: str
    handler: str
    account_id: str


class Followers(Protocol):
    """Is told what extensions have done."""

    def on_registered(self, extension: Extension) -> None: ...
    def on_next(self, extension: Extension) -> None:
        """It has initialised, or has done with the last event."""

    def on_error(self, extension: Extension, call: Call) -> None:
        """It reported that it has failed."""


class _RegisterBody(msgspec.Struct):
    events: list[str] = []
    configurationKeys: list[str] = []


class ExtensionCalls:
    """Implements `surface.Surface`."""

    def __init__(self, registry: Registry, function: Function, followers: Followers) -> None:
        self.registry = registry
        self._function = function
        self._followers = followers

    def on_head(self, connection: Connection, request: Request) -> None:
        request.body_bytes_max = BODY_BYTES_MAX

    def on_closed(self, connection: Connection) -> None:
        for extension in self.registry.all():
            if extension.waiting is connection:
                extension.waiting = None

    def answer(self, connection: Connection, request: Request) -> Reply | None:
        call = request.path.partition("?")[0].removeprefix(PREFIX)
        method = _METHODS.get(call)
        if method is None:
            raise replies.unknown_path()
        if request.method != method:
            raise replies.wrong_method()
        if request.truncated:
            raise replies.truncated()
        if call == "register":
            return self._register(request)
        extension = self.registry.with_id(request.headers.get(EXTENSION_ID))
        try:
            if call == "event/next":
                return self._next(connection, extension)
            return self._error(request, extension, Call.INIT_ERROR if call == "init/error" else Call.EXIT_ERROR)
        except IllegalTransitionError as failure:
            raise replies.extension_error("InvalidExtensionState", str(failure)) from None

    def _register(self, request: Request) -> Reply:
        name = request.headers.get(EXTENSION_NAME, "")[:NAME_CHARACTERS_MAX]
        if not name:
            raise replies.extension_error("InvalidExtensionName", "Empty extension name")
        try:
            body = msgspec.json.decode(request.body, type=_RegisterBody)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise replies.invalid_request_format(str(error)) from None
        if body.configurationKeys:
            raise replies.invalid_request_format("configurationKeys are deprecated; use environment variables instead")
        extension = self.registry.register(name, body.events)
        self._followers.on_registered(extension)
        function = self._function
        answer = {"functionName": function.name, "functionVersion": function.version, "handler": function.handler}
        if _ACCOUNT_FEATURE in [feature.strip() for feature in request.headers.get(EXTENSION_FEATURES, "").split(",")]:
            answer["accountId"] = function.account_id
        return replies.document(answer, **{"Lambda-Extension-Identifier": extension.id})

    def _next(self, connection: Connection, extension: Extension) -> Reply | None:
        if extension.pending is not None:
            # It came while nobody waited: the call for it had lost its connection.
            event, extension.pending = extension.pending, None
            return event
        if extension.state is not State.READY or extension.waiting is not None:
            extension.advance(Call.NEXT)
        extension.waiting = connection
        self._followers.on_next(extension)
        return None

    def _error(self, request: Request, extension: Extension, call: Call) -> Reply:
        error_type = request.headers.get(EXTENSION_ERROR_TYPE, "")
        if not error_type:
            raise replies.extension_error("MissingHeader", "Lambda-Extension-Function-Error-Type not found")
        extension.advance(call)
        extension.error_type = error_type[:256]
        self._followers.on_error(extension, call)
        return replies.accepted()
