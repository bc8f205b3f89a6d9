"""One sandbox as the worker holds it, from the pool to its end: what it is asked and what it answers.

How it is made: launch.py. What it occupies: slot.py. Its pid 1: init_link.py. Its runtime process: runtime_link.py. Its
extensions: extension_host.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

import msgspec

from services.worker.sandbox import exits, extension_host, protocol
from services.worker.sandbox.extension_host import ExtensionHost
from services.worker.sandbox.init_link import InitLink
from services.worker.sandbox.late_error import LateError
from services.worker.sandbox.output import OutputPipe
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.resident import shared_bytes
from services.worker.sandbox.runtime_api.surface import Surface
from services.worker.sandbox.runtime_ends import runtime_ends
from services.worker.sandbox.runtime_link import RuntimeLink
from services.worker.sandbox.slot import Slot
from services.worker.sandbox.spec import (
    Failure,
    Flow,
    InvalidInvocationError,
    OnEnd,
    ResponseStream,
    RuntimeExit,
    RuntimeInvocation,
    RuntimeReady,
    RuntimeResponse,
    SandboxError,
    SandboxSpec,
    ShutdownReason,
    Watcher,
)
from services.worker.sandbox.tree_views import TreeViews
from services.worker.sandbox.work_budget import Saved, WorkBudget
from services.worker.sandbox.zygote_process import ZygoteProcess
from services.worker.telemetry.events import Phase
from shared.domain.limits import INIT_TIMEOUT_S
from shared.domain.networks import wants_network

_TMP_MB_DEFAULT = 512


class LaunchedSandbox:
    """Implements `spec.Sandbox`, and `frame_stream.RuntimeEvents` for its runtime process."""

    def __init__(self, slot: Slot, recipe: Recipe, views: TreeViews, all_saved: Saved) -> None:
        self.uid = slot.uid
        self._slot = slot
        self._recipe = recipe
        self._views = views
        self._loop = asyncio.get_running_loop()
        self._budget = WorkBudget(all_saved)
        self._output = OutputPipe(slot.owner, self._budget)
        self._init = InitLink(self._on_exit, self._on_extension_exit, self._on_init_failure)
        self._runtime = RuntimeLink(self, self._budget, self._other_calls)
        self._host: ExtensionHost | None = None
        self._watcher: Watcher | None = None
        self._runtime_ended: asyncio.Future[None] = self._loop.create_future()
        self._on_settled: Callable[[Failure | None], None] | None = None
        self._spec: SandboxSpec | None = None
        self._programs: list[list[str]] = []
        self._missing_entrypoint: tuple[str, str] | None = None
        self._prepared: asyncio.Future[None] = self._loop.create_future()
        self._waiter: asyncio.Future[RuntimeReady | RuntimeExit] | None = None
        self._on_end: OnEnd | None = None
        self._response_stream: ResponseStream | None = None
        self._ready = False
        self._begun = False
        self._restarted = False
        self._doomed = False
        self._shared_bytes = 0
        self._late_error = LateError(self._on_whole_response)
        self._ended: RuntimeExit | None = None
        self._failure: str | None = None
        self._init_error: bytes | None = None
        self._destroying: asyncio.Task[None] | None = None
        self._boost: asyncio.TimerHandle | None = None

    @property
    def broken(self) -> bool:
        return self._failure is not None or self._ended is not None or self._slot.network.lost

    @property
    def alive(self) -> bool:
        return self._ended is None and not self._doomed and (self._host is None or self._host.extensions.all_ready)

    # Making

    async def prepare(self, zygote: ZygoteProcess) -> None:
        """Returns when the runtime process has given up its privileges and waits for `start`."""
        try:
            with runtime_ends(self._output.take_write_end(), self._runtime.new_stream(), self._slot.cgroup) as ends:
                tmp_fd, listener_fd = await self._init.spawn(
                    zygote,
                    {
                        "uid": self.uid,
                        "tmp_mb": _TMP_MB_DEFAULT,
                        "kind": self._recipe.kind,
                        "argv": list(self._recipe.argv),
                        "variables": dict(self._recipe.variables),
                    },
                    [*ends[:2], self._slot.network.descriptor(), *ends[2:]],
                )
        finally:
            self._slot.network.entered()
        self._slot.take_tmp(tmp_fd)
        self._runtime.serve_api(listener_fd, events=self._recipe.http)
        await self._prepared
        if self._recipe.kind != protocol.KIND_EXEC:
            if self._recipe.pool not in zygote.shared_bytes:
                zygote.shared_bytes[self._recipe.pool] = shared_bytes(self._slot.cgroup)
            self._shared_bytes = zygote.shared_bytes[self._recipe.pool]

    # The contract

    async def start(self, spec: SandboxSpec, watcher: Watcher) -> None:
        self._raise_failure()
        self._spec = spec
        if not wants_network(spec.environment):
            await self._slot.network.cut()
        self._watcher = watcher
        self._output.deliver_to(watcher.on_output, watcher.on_event)
        self._missing_entrypoint = self._recipe.family.missing_entrypoint(spec)
        self._programs = self._recipe.family.programs(self._recipe, spec)
        mount_fds: list[int] = []
        try:
            self._slot.set_memory(spec.memory_mb, spec.tmp_mb, 0 if self._programs else self._shared_bytes)
            self._slot.cgroup.boost_cpu(spec.memory_mb)
            for folder in (spec.code_dir, spec.layers_dir):
                if folder is not None:
                    mount_fds.append(self._views.detached(folder))
            self._init.attach(spec.tmp_mb, spec.memory_mb, mount_fds)
        except OSError as error:
            raise self._fail(f"the sandbox cannot be given its function: {error}") from error
        finally:
            for fd in mount_fds:
                os.close(fd)
        self._boost = self._loop.call_later(INIT_TIMEOUT_S, self._end_boost)
        if self._programs and self._recipe.kind != protocol.KIND_EXEC:
            # The prepared process will not do: what this function runs must read its variables while it starts.
            self._runtime.send_events_by_api()
            await self._replace_runtime()
        try:
            self._slot.watch_memory(self._kill_at_once, self._on_unwatched)
        except OSError as error:
            raise self._fail(f"memory cannot be watched: {error}") from error
        external = extension_host.external_extensions(spec.layers_dir)
        if external:
            self._host = self._new_host(external)
        await self._begin()

    def _kill_at_once(self) -> None:
        """What it did is reported as the end of its process."""
        self.thaw()
        if self._host is not None:
            self._host.extensions.end()
        self._init.kill_soon()

    def _on_unwatched(self, error: OSError) -> None:
        """Nothing may run without its limits, a runtime that is started anew neither."""
        self._fail(f"memory cannot be watched: {error}")
        self._kill_at_once()

    async def _begin(self) -> None:
        """External extensions first; the runtime once they have registered."""
        if self._host is not None and self._host.has_processes:
            await self._host.launch()
        else:
            self._send_start()

    def _send_start(self) -> None:
        assert self._spec is not None
        self._begun = True
        start: dict[str, object] = {"handler": self._spec.handler, "environment": self._spec.environment}
        if self._programs:
            start["programs"] = self._programs
        self._runtime.start(start)

    async def initialised(self) -> RuntimeReady | RuntimeExit:
        if self._ready and (self._host is None or self._host.extensions.all_ready):
            return RuntimeReady()
        end = await self._wait()
        if isinstance(end, RuntimeReady):
            self._end_boost()
        return end

    def invoke(self, invocation: RuntimeInvocation, on_end: OnEnd, stream: ResponseStream | None = None) -> None:
        self._raise_failure()
        if self._ended is not None:
            on_end(self._ended)
            return
        assert self._on_end is None, "one caller at a time"
        self._on_end = on_end
        self._response_stream = stream
        self._budget.invoked()
        try:
            self._runtime.invoke(invocation)
        except InvalidInvocationError:
            self._on_end = self._response_stream = None
            raise
        if self._host is not None:
            self._host.extensions.invoke(invocation)

    @property
    def extended(self) -> bool:
        return self._host is not None and self._host.extensions.any

    def settled(self, on_settled: Callable[[Failure | None], None]) -> None:
        assert self._host is not None
        self._on_settled = on_settled
        extensions = self._host.extensions
        if extensions.failure is not None:
            self._tell_settled(extensions.failure)
        else:
            extensions.settled(lambda: self._tell_settled(None))

    def _tell_settled(self, failure: Failure | None) -> None:
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            if self._host is not None:
                self._host.drain()
            on_settled(failure)

    async def shut_down(self, reason: ShutdownReason) -> None:
        if self._host is None or self._failure is not None or self._destroying is not None:
            return
        self._on_settled = None
        self._doomed = True
        self.thaw()
        await self._host.shut_down(reason, self._runtime_ended)

    def freeze(self) -> None:
        self._set_frozen(True)

    def rest(self) -> None:
        # Extensions are started and ended by init, also those that a runtime whose last start failed may have yet. Of one user
        # alone, all can get at init: it goes on watching over them.
        if self._host is None and self._ended is None and self._failure is None and self._slot.owner == self.uid:
            self._init.sleep()

    def thaw(self) -> None:
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        if self._failure is None:
            try:
                self._slot.cgroup.set_frozen(frozen)
            except OSError as error:
                self._fail(f"the sandbox cannot be {'frozen' if frozen else 'thawed'}: {error}")
            if self._host is not None:
                self._host.set_frozen(frozen)

    async def restart(self) -> None:
        self._raise_failure()
        self._end_boost()
        self._slot.begin_runtime()
        self._restarted = True
        if self._host is not None:
            self._host.ending()
        await self._replace_runtime()
        if self._host is not None:
            self._host.restarted()
        await self._begin()

    async def _replace_runtime(self) -> None:
        kind = protocol.KIND_EXEC if self._programs else self._recipe.kind
        request = {"uid": self.uid, "kind": kind, "argv": list(self._recipe.argv), "variables": dict(self._recipe.variables)}
        try:
            with runtime_ends(self._output.new_write_end(), self._runtime.new_stream(), self._slot.cgroup) as fds:
                await self._init.restart(request, fds)
        except OSError as error:
            raise self._fail(f"a runtime cannot be started: {error}") from error
        self._ended = None
        self._ready = self._doomed = self._begun = False
        self._init_error = None
        self._runtime_ended = self._loop.create_future()

    async def kill_runtime(self) -> None:
        if self._failure is None and self._destroying is None:
            await self._init.kill(runtime_only=self.extended)

    async def destroy(self) -> None:
        if self._destroying is None:
            self._destroying = self._loop.create_task(self._destroy())
        await asyncio.shield(self._destroying)

    def max_memory_bytes(self) -> int:
        return self._slot.peak_bytes()

    def held_bytes(self) -> int:
        try:
            return self._slot.cgroup.used_bytes()
        except OSError:
            return 0

    # What the runtime says

    def on_prepared(self) -> None:
        if not self._prepared.done():
            self._prepared.set_result(None)

    def on_ready(self) -> None:
        self._ready = True
        if self._host is None:
            self._settle(RuntimeReady())
        else:
            self._host.runtime_ready(Phase.INVOKE if self._restarted else Phase.INIT)
            self.on_progress()

    def on_next(self) -> None:
        self._late_error.let_go()

    def on_response(self, response: RuntimeResponse) -> None:
        if self._on_end is None:
            self.on_stray()
            return
        if self._recipe.logs_late and response.error_type is not None:
            self._late_error.hold(response)
        else:
            self._on_whole_response(response)

    def _on_whole_response(self, response: RuntimeResponse) -> None:
        self._output.drain()
        self._answer_caller(response)

    def on_stray(self) -> None:
        """What is left of an earlier event may take the next one, too: nothing of it is left by then."""
        self._doomed = True
        if self._on_end is None:
            self._kill_at_once()

    def on_stream(self, content_type: str, flow: Flow) -> ResponseStream | None:
        if self._on_end is not None and self._response_stream is not None:
            self._response_stream.begin(content_type, flow)
            return self._response_stream
        return None

    def on_init_error(self, document: bytes) -> None:
        self._init_error = document

    def on_broken(self, reason: str) -> None:
        self._fail(f"the sandbox could not be made as promised: {reason}")

    def on_violation(self, reason: str) -> None:
        """The function's code meddled with the stream: its process ends, which is reported as any other end."""
        self._doomed = True
        self._kill_at_once()

    # What extensions do

    def _other_calls(self, path: str) -> Surface | None:
        if self._host is None:
            if self._spec is None or not extension_host.answers(path):
                return None
            self._host = self._new_host(())
            if self._ready:
                self._host.initialised()
        return self._host.find(path)

    def _new_host(self, external: tuple[str, ...]) -> ExtensionHost:
        assert self._spec is not None
        assert self._watcher is not None
        return ExtensionHost(self._spec, external, self._watcher, self._init, self.uid, self._budget, self)

    def on_progress(self) -> None:
        """Of the initialisation: when one thing is done the next may begin."""
        assert self._host is not None
        extensions = self._host.extensions
        if self._ended is not None or not extensions.all_registered:
            return
        if not self._begun:
            self._send_start()
        elif self._ready and extensions.all_ready:
            self._host.initialised()
            self._settle(RuntimeReady())

    def on_failure(self, failure: Failure) -> None:
        """As the runtime's end, whatever the runtime does: nothing more runs here before everything was started anew."""
        self._doomed = True
        self._ended = exits.of_failure(failure)
        self._settle(self._ended)
        self._tell_settled(failure)

    # What init says

    def _on_extension_exit(self, name: str, status: int) -> None:
        if self._host is not None:
            self._host.on_exit(name, status, memory_kill=self._slot.memory_killed())

    def _on_exit(self, status: int) -> None:
        if not self._runtime_ended.done():
            self._runtime_ended.set_result(None)
        self._runtime.drain()
        self._output.drain(ended=True)
        self._late_error.let_go()
        ended = exits.runtime_exit(status, memory_kill=self._slot.memory_killed(), init_error=self._init_error)
        if self._missing_entrypoint is not None:
            ended = msgspec.structs.replace(ended, platform_error=self._missing_entrypoint)
        elif self._host is not None and self._host.extensions.reported is not None:
            ended = msgspec.structs.replace(
                ended, platform_error=(self._host.extensions.reported, exits.extension_text(status)), init_error=None
            )
        elif self._on_end is not None and self._runtime.untaken:
            ended = msgspec.structs.replace(ended, untaken=True)
        self._ended = ended
        if not self._prepared.done():
            self._fail("the runtime process ended before it was given anything")
        self._settle(ended)

    def _on_init_failure(self, reason: str) -> None:
        if self._destroying is None:
            self._fail(reason)

    # Who waits, and for what

    async def _wait(self) -> RuntimeReady | RuntimeExit:
        self._raise_failure()
        if self._ended is not None:
            return self._ended
        assert self._waiter is None, "one caller at a time"
        self._waiter = self._loop.create_future()
        try:
            return await self._waiter
        finally:
            self._waiter = None

    def _settle(self, end: RuntimeReady | RuntimeExit) -> None:
        if self._on_end is not None and not isinstance(end, RuntimeReady):
            self._answer_caller(end)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(end)

    def _answer_caller(self, end: RuntimeResponse | RuntimeExit | SandboxError) -> None:
        on_end, self._on_end, self._response_stream = self._on_end, None, None
        if on_end is not None:
            on_end(end)

    def _end_boost(self) -> None:
        """Only the first initialisation has more CPU than goes with the function's memory, and only for so long. Whoever waits
        gets the SandboxError when the limit cannot be set."""
        if self._boost is None or self._spec is None:
            return
        self._boost.cancel()
        self._boost = None
        try:
            self._slot.cgroup.set_cpu(self._spec.memory_mb)
        except OSError as error:
            self._fail(f"the CPU cannot be limited: {error}")

    # Its end

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise SandboxError(self._failure)

    def _fail(self, reason: str) -> SandboxError:
        """Everyone who waits gets the error, and so does every later call."""
        if self._failure is None:
            self._failure = reason
        error = SandboxError(self._failure)
        self._init.fail(error)
        for waiting in (self._prepared, self._waiter):
            if waiting is not None and not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # Seen here: nobody may be waiting for it.
        self._answer_caller(error)
        return error

    async def _destroy(self) -> None:
        self._slot.peak_bytes()
        self._late_error.drop()
        if self._boost is not None:
            self._boost.cancel()
        with contextlib.suppress(OSError):
            # A process that cgroup v1 froze cannot be killed.
            self._slot.cgroup.set_frozen(False)
        self._fail("the sandbox was destroyed")
        self._budget.close()
        self._runtime.close()
        try:
            await self._init.end()
        finally:
            self._output.close()
            if self._host is not None:
                self._host.close()
            self._slot.end_watch()
        await self._slot.give_back()
