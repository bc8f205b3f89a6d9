"""The contract between an execution environment (services/worker/environment/environment.py) and its sandbox.

A sandbox is an init process (ours, the sandbox's pid 1, holds the namespaces and /tmp) and one runtime process with the
user's code. The runtime process may die or be killed and be started again in the same sandbox; /tmp is kept.
All methods are called from the worker's event loop, by one environment, one at a time, except `kill_runtime`, `destroy`
and `max_memory_bytes`, which may be called at any moment and are idempotent.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from services.worker.telemetry.events import Subscriber, TelemetryEvent
from shared.domain.functions import VersionSpec


class SandboxSpec(msgspec.Struct, frozen=True):
    """What to run in a sandbox. environment: the complete set of variables that the runtime process sees. version: what its
    extensions are told of it.

    code_dir: unpacked package, becomes /var/task. layers_dir: unpacked and merged layers, becomes /opt.
    """

    handler: str
    environment: dict[str, str]
    code_dir: Path
    layers_dir: Path | None
    memory_mb: int
    tmp_mb: int
    version: VersionSpec

    @property
    def wrapper(self) -> str | None:
        """The program that is to start the runtime process, if the function names one."""
        return self.environment.get("AWS_LAMBDA_EXEC_WRAPPER") or None


class RuntimeInvocation(msgspec.Struct, frozen=True):
    """One event for the runtime, in the Runtime API's terms."""

    request_id: str
    payload: bytes
    deadline_ms: int
    invoked_arn: str
    trace: str | None = None
    client_context: str | None = None


class RuntimeResponse(msgspec.Struct, frozen=True):
    """The runtime answered. error_type: set when it posted to the error endpoint; the payload is then its error document.

    too_large_bytes: the response's size when it was over the limit; the payload is then empty.
    """

    payload: bytes
    error_type: str | None = None
    too_large_bytes: int | None = None


class RuntimeExit(msgspec.Struct, frozen=True):
    """The runtime process ended without answering.

    exit_status: of the process, None when a signal ended it. signal: its lower-case description ("killed",
    "segmentation fault"). out_of_memory: the kernel killed it at the memory limit.
    init_error: the document that the runtime posted before it ended, when it failed to initialise.
    platform_error: (type, text) where the platform knows better than "exited" what went wrong: Runtime.InvalidEntrypoint.
    untaken: it ended before it had taken the event, which may run elsewhere.
    """

    exit_status: int | None
    signal: str | None
    out_of_memory: bool = False
    init_error: bytes | None = None
    platform_error: tuple[str, str] | None = None
    untaken: bool = False


class Flow(Protocol):
    """The source of a streamed response, which waits while it is paused."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class ResponseStream(Protocol):
    """Takes a response while the runtime writes it."""

    def begin(self, content_type: str, flow: Flow) -> None:
        """The runtime streams its response; `write` follows for each piece, and the invocation's end ends it."""

    def write(self, data: bytes) -> None: ...


class RuntimeReady(msgspec.Struct, frozen=True):
    """The runtime finished its initialisation and waits for its first event."""


class Failure(msgspec.Struct, frozen=True):
    """What an extension failed of: the platform's error type and text."""

    error_type: str
    text: str
    out_of_memory: bool = False


class ShutdownReason(enum.StrEnum):
    SPINDOWN = "spindown"
    TIMEOUT = "timeout"
    FAILURE = "failure"


class Watcher(Protocol):
    """Whose sandbox it is. Called from the event loop; none of it may raise."""

    def on_output(self, data: bytes, whole: bool) -> None:
        """What the function writes, as it comes, and whether it is one record or any part of what it writes."""

    def on_event(self, event: TelemetryEvent) -> None:
        """What extensions do and write, and what is missing of anybody's output before what comes next."""

    def subscribe(self, subscriber: Subscriber) -> None:
        """An extension gets what happens here from now on."""


OnEnd = Callable[["RuntimeResponse | RuntimeExit | SandboxError"], None]
"""Called exactly once, from the event loop, perhaps before `invoke` has returned. It must not raise."""


class Sandbox(Protocol):
    @property
    def alive(self) -> bool:
        """False when the runtime has ended since it was ready, or has to: `restart` comes before the next event."""

    @property
    def extended(self) -> bool:
        """Extensions take part. Known once it has initialised."""

    async def start(self, spec: SandboxSpec, watcher: Watcher) -> None:
        """Attach code, limits and variables and let extensions and then the runtime initialise. Raises SandboxError when the
        sandbox cannot be made as promised."""

    async def initialised(self) -> RuntimeReady | RuntimeExit:
        """Wait (no deadline of its own) until the runtime and all extensions ask for their first event, or one of them ends."""

    def invoke(self, invocation: RuntimeInvocation, on_end: OnEnd, stream: ResponseStream | None = None) -> None:
        """Hand over one event; on_end gets what came of it (no deadline of its own). A runtime that answered may be used again.
        stream: gets the response if the runtime streams it; the answer is then empty, or the error document.
        Raises SandboxError when the sandbox is broken already, InvalidInvocationError when the runtime got nothing of the
        event, for it cannot be told; then on_end is not called and the next event may come."""

    def settled(self, on_settled: Callable[[Failure | None], None]) -> None:
        """Of a sandbox with extensions, after an event was answered: on_settled is called once, when every extension has done
        with it, or one has failed. Not after `shut_down`."""

    async def shut_down(self, reason: ShutdownReason) -> None:
        """Let the runtime and its extensions end, in the time that they have for it, and kill what is left; `restart` or
        `destroy` follows. At once where there are no extensions."""

    def freeze(self) -> None:
        """Stop every process but init until `thaw`. Only between invocations, of a sandbox that was started."""

    def rest(self) -> None:
        """Take less memory from now on. Of one that is frozen; it costs some work now, and `restart` a little more."""

    def thaw(self) -> None:
        """Let them go on; before anything else is asked of the sandbox, but for its end."""

    async def restart(self) -> None:
        """Start a fresh runtime process in the same sandbox after it ended; then wait for `initialised` again."""

    async def kill_runtime(self) -> None:
        """Kill every process in the sandbox but its init, of one with extensions the runtime process alone; returns when they
        are gone."""

    async def destroy(self) -> None:
        """Kill everything and give back namespaces, mounts, cgroups, sockets, directories and the uid."""

    def max_memory_bytes(self) -> int:
        """Peak memory use since the last call of `start` or `restart`."""

    def held_bytes(self) -> int:
        """What its end makes free, about: shared pages are not its own. 0 when it cannot be read."""


class InvalidInvocationError(Exception):
    """A field of an invocation does not fit what a runtime can be told. The sandbox is as it was."""


class SandboxError(Exception):
    """A sandbox could not be made or kept as promised; it must be destroyed."""
