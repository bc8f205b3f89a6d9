"""What the extensions of one sandbox make of its phases: who is waited for, what each is told, and how they fail."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterable

from services.worker.sandbox import exits
from services.worker.sandbox.runtime_api.extensions.calls import ExtensionCalls, Function
from services.worker.sandbox.runtime_api.extensions.machine import Call, State
from services.worker.sandbox.runtime_api.extensions.registry import INVOKE, SHUTDOWN, Extension, Registry
from services.worker.sandbox.runtime_api.wire import replies
from services.worker.sandbox.spec import Failure, RuntimeInvocation, ShutdownReason
from services.worker.telemetry.events import ExtensionState, TelemetryEvent

EXTERNAL_S, INTERNAL_S, RUNTIME_SHARE_S = 2.0, 0.5, 0.3
"""What a sandbox with external extensions, or with internal ones alone, gets to shut down; and of the first, its runtime.
Source: AWS's documentation."""
CRASH, LAUNCH_ERROR = "Extension.Crash", "Extension.LaunchError"
_REPORTED = {Call.INIT_ERROR: "Extension.InitError", Call.EXIT_ERROR: "Extension.ExitError"}


class Extensions:
    """Implements `calls.Followers`. on_progress: the initialisation may go on. on_failure: one has failed, which ends what is
    under way; called once."""

    def __init__(
        self,
        function: Function,
        external: tuple[str, ...],
        publish: Callable[[TelemetryEvent], None],
        on_progress: Callable[[], None],
        on_failure: Callable[[Failure], None],
    ) -> None:
        self._function = function
        self._external = external
        self._publish = publish
        self._on_progress = on_progress
        self._on_failure = on_failure
        self.registry = Registry(external)
        self.calls = ExtensionCalls(self.registry, function, self)
        self.failure: Failure | None = None
        self.reported: str | None = None
        self._on_settled: Callable[[], None] | None = None
        self._ended = asyncio.Event()

    def restarted(self) -> None:
        """Everything runs anew, internal extensions too."""
        self.registry = Registry(self._external)
        self.calls.registry = self.registry
        self.failure = self.reported = None
        self._on_settled = None
        self._ended = asyncio.Event()

    # Who takes part

    @property
    def any(self) -> bool:
        return bool(self.registry.all())

    @property
    def all_registered(self) -> bool:
        return all(extension.state is not State.STARTED for extension in self.registry.all())

    @property
    def all_ready(self) -> bool:
        """They have initialised, and wait for an event."""
        return all(extension.state is State.READY for extension in self.registry.all())

    # Initialisation

    def close_registration(self) -> None:
        """The runtime has initialised."""
        self.registry.open = False

    def launched(self, errors: Iterable[tuple[str, str]]) -> None:
        """errors: (name, what the kernel said) of those that could not be executed."""
        for name, text in errors:
            extension = self.registry.named(name)
            if extension is not None:
                extension.advance(Call.LAUNCH_FAILED)
                extension.error_type = "PermissionDenied" if "permission" in text.lower() else "UnknownError"
                self._tell(extension)
                self._fail(Failure(LAUNCH_ERROR, f"fork/exec /opt/extensions/{name}: {text.lower()}"))

    def on_registered(self, extension: Extension) -> None:
        self._on_progress()

    def on_next(self, extension: Extension) -> None:
        if extension.pending is None and extension.state is State.READY:
            if not extension.told_ready:
                extension.told_ready = True
                self._tell(extension)
                self._on_progress()
            self._check_settled()

    def on_error(self, extension: Extension, call: Call) -> None:
        """Its process has to end now, which is what ends anything."""
        self.reported = self.reported or _REPORTED[call]
        self._tell(extension)

    def exited(self, name: str, status: int, *, memory_kill: bool) -> None:
        """The process of an external extension has ended; status: as waitpid gives it."""
        extension = self.registry.named(name)
        if extension is None or extension.gone:
            return
        if self.failure is None and extension.state not in (State.INIT_ERROR, State.EXIT_ERROR):
            self._tell(extension)
        extension.advance(Call.EXIT)
        extension.waiting = extension.pending = None
        self._ended.set()
        self._fail(Failure(self.reported or CRASH, exits.extension_text(status), memory_kill))

    # Invocations

    def invoke(self, invocation: RuntimeInvocation) -> None:
        document = {
            "eventType": INVOKE,
            "deadlineMs": invocation.deadline_ms,
            "requestId": invocation.request_id,
            "invokedFunctionArn": invocation.invoked_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": invocation.trace or ""},
        }
        for extension in self.registry.all():
            if INVOKE in extension.events:
                extension.offer(_event(document))

    def settled(self, on_settled: Callable[[], None]) -> None:
        """on_settled: once, when every extension has done with the event; not after a failure."""
        self._on_settled = on_settled
        self._check_settled()

    def _check_settled(self) -> None:
        if self._on_settled is not None and self.all_ready:
            on_settled, self._on_settled = self._on_settled, None
            on_settled()

    # The end

    @property
    def budget_s(self) -> float:
        if self._processes():
            return EXTERNAL_S
        return INTERNAL_S if self.any else 0.0

    def end(self) -> None:
        """What they do from now on is their end, and no failure."""
        self.failure = self.failure or Failure(CRASH, "")
        self._on_settled = None

    @property
    def some_run(self) -> bool:
        return any(not extension.gone for extension in self.registry.all())

    async def shut_down(self, reason: ShutdownReason, until: float) -> None:
        """Tell the external extensions that want to know, and wait for them to end; until: by time.monotonic()."""
        document = {
            "eventType": SHUTDOWN,
            "shutdownReason": reason.value,
            "deadlineMs": int((time.time() + until - time.monotonic()) * 1e3),
        }
        asked = [each for each in self._processes() if SHUTDOWN in each.events and not each.gone]
        for extension in asked:
            if extension.state is State.READY:
                extension.offer(_event(document))
            elif extension.state is State.RUNNING:
                extension.pending = _event(document)
        while not all(extension.gone for extension in asked):
            left_s = until - time.monotonic()
            if left_s <= 0:
                return
            self._ended.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._ended.wait()
            except TimeoutError:
                return

    def _processes(self) -> list[Extension]:
        return [extension for extension in self.registry.all() if extension.external]

    def _fail(self, failure: Failure) -> None:
        if self.failure is None:
            self.failure = failure
            self._on_settled = None
            self._on_failure(failure)

    def _tell(self, extension: Extension) -> None:
        self._publish(ExtensionState(extension.name, extension.state, extension.events, extension.error_type or None))


def _event(document: object) -> bytes:
    return replies.extension_event(str(uuid.uuid4()), document)
