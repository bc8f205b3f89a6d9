"""An invocation whose response goes to the client while the function writes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Protocol

from shared.dispatch.client.run import OnEnd
from shared.dispatch.wire.streaming import ResponseStream
from shared.domain.invocations import Invocation, InvocationResult


class Invoker(Protocol):
    """`shared.dispatch.client.invoker.FunctionInvoker`."""

    def start(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> Callable[[], None]: ...

    async def invoke(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        *,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> InvocationResult: ...


class StreamedInvocation:
    """Runs inside its context. Leaving that early gives up the response and not the run, which goes on to its end; only a task
    that is cancelled cancels it.

    `begun` first: a function that does not stream has no `pieces`, and all it answered is in `result`."""

    def __init__(
        self, invoker: Invoker, function_arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> None:
        self._response = ResponseStream()
        self._end: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
        self._cancel = invoker.start(function_arn, qualifier, invocation, self._on_end, wait_s, self._response)

    def _on_end(self, result: InvocationResult | None, error: Exception | None) -> None:
        if result is not None:
            self._end.set_result(result)
        elif error is not None:
            self._end.set_exception(error)
            # Whoever left early does not ask for it.
            self._end.exception()
        self._response.end()

    async def __aenter__(self) -> StreamedInvocation:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, asyncio.CancelledError):
            self._cancel()
        self._response.discard()

    async def begun(self) -> bool:
        """Waits until the function streams, or has ended without. Raises what the invocation raised before it began."""
        if await self._response.begun():
            return True
        await self.result()
        return False

    @property
    def executed_version(self) -> str:
        """Once it has begun."""
        return self._response.executed_version

    @property
    def content_type(self) -> str:
        """Once it has begun."""
        assert self._response.content_type is not None
        return self._response.content_type

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.pieces()

    async def result(self) -> InvocationResult:
        """Of a function that streamed, its payload is empty or the error document. Raises what the invocation raised."""
        return await asyncio.shield(self._end)
