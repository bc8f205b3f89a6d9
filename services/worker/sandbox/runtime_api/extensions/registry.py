"""Which extensions take part in one sandbox, and what each is doing: pure records, no I/O."""

from __future__ import annotations

import uuid

from services.worker.sandbox.runtime_api.extensions.machine import Call, State, advance
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.runtime_api.wire.connection import Connection

EXTENSIONS_MAX = 10
INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"
NAME_CHARACTERS_MAX = 255
"""As a file name: internal extensions name themselves, and the log shows it."""


class Extension:
    """external: a process of its own, started from /opt/extensions. events: those that it registered for. waiting: its call
    for the next event, not answered yet. pending: an event that came while nobody waited. error_type: as it reported it.
    told_ready: the log says that it has initialised."""

    __slots__ = ("error_type", "events", "external", "id", "name", "pending", "state", "told_ready", "waiting")

    def __init__(self, name: str, *, external: bool) -> None:
        self.id = str(uuid.uuid4())
        self.name = name
        self.external = external
        self.events: tuple[str, ...] = ()
        self.state = State.STARTED
        self.waiting: Connection | None = None
        self.pending: bytes | None = None
        self.error_type = ""
        self.told_ready = False

    @property
    def gone(self) -> bool:
        return self.state is State.EXITED or self.state is State.LAUNCH_ERROR

    def advance(self, call: Call, named: str | None = None) -> None:
        """named: how an error text names it. Raises machine.IllegalTransitionError."""
        self.state = advance(self.state, call, named or self.id)

    def offer(self, event: bytes) -> None:
        """Answer its waiting call, or the next one."""
        self.advance(Call.EVENT)
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            self.pending = event
        else:
            waiting.reply(event)


class Registry:
    """open: extensions may register, until the runtime has initialised."""

    def __init__(self, external: tuple[str, ...]) -> None:
        self.open = True
        self._by_name = {name: Extension(name, external=True) for name in external}

    def all(self) -> list[Extension]:
        return list(self._by_name.values())

    def named(self, name: str) -> Extension | None:
        return self._by_name.get(name)

    def with_id(self, identifier: str | None) -> Extension:
        """The caller of any call but `register`. Raises ApiError."""
        if not identifier:
            raise replies.extension_error("MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
        try:
            wanted = str(uuid.UUID(identifier))
        except ValueError:
            raise replies.extension_error("InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier") from None
        for extension in self._by_name.values():
            if extension.id == wanted and extension.state is not State.STARTED:
                return extension
        raise replies.extension_error("UnknownExtensionIdentifier", f"Unknown extension {wanted}")

    def register(self, name: str, events: list[str]) -> Extension:
        """Raises ApiError."""
        if not name:
            raise replies.extension_error("InvalidExtensionName", "Empty extension name")
        known = self._by_name.get(name)
        self._check_events(events, external=known is not None and known.external)
        if not self.open and (known is None or not known.external):
            raise replies.extension_error("RegistrationClosed", "Extension registration closed already")
        if known is not None and known.state is not State.STARTED:
            raise replies.extension_error("InvalidExtensionState", "Extension with this name already registered")
        if sum(each.state is not State.STARTED for each in self._by_name.values()) >= EXTENSIONS_MAX:
            raise replies.extension_error("TooManyExtensions", f"Extension limit ({EXTENSIONS_MAX}) reached")
        if known is None:
            known = self._by_name[name] = Extension(name, external=False)
        known.advance(Call.REGISTER, name)
        known.events = tuple(dict.fromkeys(events))
        return known

    @staticmethod
    def _check_events(events: list[str], *, external: bool) -> None:
        for event in events:
            if event == INVOKE or (event == SHUTDOWN and external):
                continue
            why = "ShutdownEventNotSupportedForInternalExtension" if event == SHUTDOWN else "ErrorInvalidEventType"
            raise replies.extension_error("InvalidEventType", f"{event}: {why}")
