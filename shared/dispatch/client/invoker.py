"""Run a function by its name: resolve it, and resolve it again when the registry turns out to be newer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from shared.dispatch.client.dispatcher import Dispatcher, ended
from shared.dispatch.client.recursion import carrying_on, in_chain
from shared.dispatch.client.run import OnEnd, Run
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.errors import DispatchUnavailableError, StaleTargetError
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult

RESOLVES_MAX = 5

Make = Callable[[InvokeTarget], Invocation]
"""What is to be run of the target that a name led to. What it raises ends the run before it has begun."""
_NOT_MADE = Invocation("", b"")


class TargetResolver(Protocol):
    """What resolves names; `shared.registry.cache.TargetCache` does. function_arn: without a qualifier."""

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget: ...

    def cached(self, function_arn: str, qualifier: str | None) -> InvokeTarget | None:
        """What `resolve` would answer without asking anybody; None when it would have to, or would raise."""

    def forget(self, function_arn: str) -> None: ...


class FunctionInvoker:
    """A dispatcher that takes names. The target of a name is found once for a run: of a weighted alias one is drawn.

    Its runs end as the dispatcher's do, with what the resolver raises besides, and never with StaleTargetError:
    DispatchUnavailableError when the registry stays behind what Redis has seen of it."""

    def __init__(self, resolver: TargetResolver, dispatcher: Dispatcher) -> None:
        self._resolver = resolver
        self._cached = resolver.cached
        self._dispatcher = dispatcher

    def start(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> Callable[[], None]:
        """As `Dispatcher.start`; what it returns cancels the run. One in a chain of invocations carries on its lineage, and
        ends with RecursiveInvocationException where that goes round."""
        if in_chain(invocation):
            return self.start_made(function_arn, qualifier, carrying_on(invocation), on_end, wait_s, response)
        run = FunctionRun(self._dispatcher, self._cached(function_arn, qualifier), invocation, on_end, wait_s, response)
        run.resolver, run.function_arn, run.qualifier, run.resolves = self._resolver, function_arn, qualifier, 0
        run.start()
        return run.cancel

    def start_made(
        self,
        function_arn: str,
        qualifier: str | None,
        make: Make,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> Callable[[], None]:
        """As `start`, for whoever has to know the target before it is said what is to be run of it."""
        target = self._cached(function_arn, qualifier)
        run = MadeRun(self._dispatcher, target, _NOT_MADE, on_end, wait_s, response)
        run.resolver, run.function_arn, run.qualifier, run.resolves = self._resolver, function_arn, qualifier, 0
        run.make = make
        run.start()
        return run.cancel

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget:
        """What a name leads to, as `shared.registry.cache.TargetCache` says it."""
        return await self._resolver.resolve(function_arn, qualifier)

    async def invoke(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        *,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> InvocationResult:
        """`start`, awaited: raises what on_end would get. Cancelling the caller cancels the run."""
        return await ended(lambda on_end: self.start(function_arn, qualifier, invocation, on_end, wait_s, response))


class FunctionRun(Run):
    """A run of whatever a name leads to. resolves: how often that was asked because the target was outdated."""

    __slots__ = ("function_arn", "qualifier", "resolver", "resolves")

    resolver: TargetResolver
    function_arn: str
    qualifier: str | None
    resolves: int

    async def _resolve(self) -> InvokeTarget:
        return await self.resolver.resolve(self.function_arn, self.qualifier)

    def _outdated(self, error: StaleTargetError) -> None:
        self.resolver.forget(self.function_arn)
        self.resolves += 1
        if self.resolves >= RESOLVES_MAX:
            arn = self.function_arn
            raise DispatchUnavailableError(f"the registry's state of {arn} stays behind what was announced of it") from error


class MadeRun(FunctionRun):
    __slots__ = ("make",)

    make: Make

    def start(self) -> None:
        if self._target is not None:
            try:
                self._invocation = self.make(self._target)
            except Exception as error:
                asyncio.get_running_loop().call_soon(self._end, None, error)
                return
        super().start()

    async def _resolve(self) -> InvokeTarget:
        target = await super()._resolve()
        self._invocation = self.make(target)
        return target
