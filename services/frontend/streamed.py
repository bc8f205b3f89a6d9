"""An invocation whose response goes to the client while the function writes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Protocol

from shared.dispatch.streaming import ResponseStream
from shared.domain.invocations import Invocation, InvocationResult


class StreamingInvoker(Protocol):
    async def invoke(
        self,
        function_name: str,
        qualifier: str | None,
        invocation: Invocation,
        *,
        wait_s: float,
        response: ResponseStream | None = None,
    ) -> InvocationResult: ...


class StreamedInvocation:
    """Runs inside its context; leaving that early cancels it.

    `begun` first: a function that does not stream has no `pieces`, and all it answered is in `result`."""

    def __init__(
        self, invoker: StreamingInvoker, function_name: str, qualifier: str | None, invocation: Invocation, *, wait_s: float
    ) -> None:
        self._response = ResponseStream()
        self._call = invoker.invoke(function_name, qualifier, invocation, wait_s=wait_s, response=self._response)

    async def __aenter__(self) -> StreamedInvocation:
        self._running = asyncio.create_task(self._call)
        self._running.add_done_callback(lambda _: self._response.end())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await self._running

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
        return await self._running
