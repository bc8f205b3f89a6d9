"""Chains of invocations: a run carries on the lineage of its caller's trace header, and a function to which its own chain leads
again and again is not run, unless it allows that (its RecursiveLoop)."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from shared.domain import lineage
from shared.domain.errors import RecursiveInvocationException
from shared.domain.functions import InvokeTarget
from shared.domain.invocations import Invocation

STOPPED = (
    "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources "
    "and stopped your function's invocation."
)


def in_chain(invocation: Invocation) -> bool:
    """Whether another run led to it."""
    return invocation.trace is not None and lineage.FIELD in invocation.trace


def carrying_on(invocation: Invocation) -> Callable[[InvokeTarget], Invocation]:
    """What is run of a target for an invocation in a chain; it raises RecursiveInvocationException."""

    def make(target: InvokeTarget) -> Invocation:
        if lineage.is_endless(invocation.trace, target):
            raise RecursiveInvocationException(STOPPED)
        trace = lineage.carried_on(
            invocation.trace,
            target.spec.function_arn,
            request_id=invocation.request_id,
            at_ms=time.time_ns() // 1_000_000,
        )
        return msgspec.structs.replace(invocation, trace=trace)

    return make
