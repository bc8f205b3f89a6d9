"""Which functions may be invoked: what the invoke path resolves names through."""

from __future__ import annotations

from typing import Protocol

from shared.domain.errors import ResourceConflictException
from shared.domain.functions import InvokeTarget


class Resolver(Protocol):
    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget: ...

    def cached(self, function_arn: str, qualifier: str | None) -> InvokeTarget | None: ...

    def forget(self, function_arn: str) -> None: ...


class InvocableResolver:
    """A resolver that refuses functions which are not there yet."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, function_arn: str, qualifier: str | None) -> InvokeTarget:
        """Raises ResourceNotFoundException, ResourceConflictException."""
        target = await self._resolver.resolve(function_arn, qualifier)
        if target.state != "Active":
            # What was remembered is not worth keeping: the next call should see the new state.
            self._resolver.forget(function_arn)
            raise ResourceConflictException(
                "The operation cannot be performed at this time. "
                f"The function is currently in the following state: {target.state}"
            )
        return target

    def cached(self, function_arn: str, qualifier: str | None) -> InvokeTarget | None:
        target = self._resolver.cached(function_arn, qualifier)
        return target if target is not None and target.state == "Active" else None

    def forget(self, function_arn: str) -> None:
        self._resolver.forget(function_arn)
