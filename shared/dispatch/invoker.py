"""Run a function by its name: resolve it, and resolve it again when the registry turns out to be newer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from shared.dispatch.client import Dispatcher, OnInvoked
from shared.dispatch.streaming import ResponseStream
from shared.domain.errors import DispatchUnavailableError, StaleTargetError
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation, InvocationResult

RESOLVES_MAX = 5


class TargetResolver(Protocol):
    """What resolves names; `shared.registry.cache.TargetCache` does."""

    async def resolve(self, function_name: str, qualifier: str | None) -> InvokeTarget: ...

    def cached(self, function_name: str, qualifier: str | None) -> InvokeTarget | None:
        """What `resolve` would answer without asking anybody; None when it would have to, or would raise."""

    def forget(self, function_name: str) -> None: ...


class FunctionInvoker:
    """A dispatcher that takes names."""

    def __init__(self, resolver: TargetResolver, dispatcher: Dispatcher) -> None:
        self._resolve = resolver.resolve
        self._cached = resolver.cached
        self._forget = resolver.forget
        self._invoke = dispatcher.invoke
        self._begin = dispatcher.begin

    async def invoke(
        self,
        function_name: str,
        qualifier: str | None,
        invocation: Invocation,
        *,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> InvocationResult:
        """Raises what `Dispatcher.invoke` and the resolver raise, but StaleTargetError: DispatchUnavailableError when the
        registry stays behind what Redis has seen of it."""
        for _ in range(RESOLVES_MAX):
            target = await self._resolve(function_name, qualifier)
            try:
                return await self._invoke(target, invocation, wait_s=wait_s, response=response)
            except StaleTargetError:
                self._forget(function_name)
        raise DispatchUnavailableError(f"the registry's state of {function_name} stays behind what was announced of it")

    def begin(
        self, function_name: str, qualifier: str | None, invocation: Invocation, on_end: OnInvoked
    ) -> Callable[[], None] | None:
        """`Dispatcher.begin` for a function whose target is at hand; None, and nothing done, otherwise."""
        target = self._cached(function_name, qualifier)
        return None if target is None else self._begin(target, invocation, on_end)
