"""The lineage in a trace header: which functions a chain of invocations has led to, and how often.

As on AWS, X-Amzn-Trace-Id may end with `Lineage=1:<function>:<times>|<function>:<times>`: functions as eight hexadecimal
digits, times counting from 0 for the run that a function's own header tells of. Whoever invokes on behalf of a run passes the
header on. What comes from outside is read leniently, and nothing in it is more than a hint: a forged header can only end
chains that carry it.
"""

from __future__ import annotations

import functools
import hashlib
import re

from shared.domain.functions import InvokeTarget

RUNS_MAX = 16
"""AWS stops a function about here in one chain of invocations."""
TIMES_MAX = 255
FUNCTIONS_MAX = 32
"""A chain that leads through more functions forgets those that it has not come back to for the longest time."""
HEADER_CHARACTERS_MAX = 2_048
"""A longer header is replaced, not carried on."""
_ENTRY = re.compile(r"([0-9a-f]{8}):(\d{1,3})")
FIELD = "Lineage="
_VERSION = "1:"


def runs(trace: str | None, function_arn: str) -> int:
    """How often the chain that led here has run the function. function_arn: without a qualifier."""
    if trace is None:
        return 0
    times = _entries(trace).get(_name(function_arn))
    return 0 if times is None else times + 1


def is_endless(trace: str | None, target: InvokeTarget) -> bool:
    """Whether the chain that led to the target is to be stopped here."""
    return not target.event_invoke.recursion_allowed and runs(trace, target.spec.function_arn) >= RUNS_MAX


def carried_on(trace: str | None, function_arn: str, *, request_id: str, at_ms: int) -> str:
    """The trace header of a run of the function that `trace` led to; the same for every attempt at the same request."""
    if trace is None:
        return f"{_new(request_id, at_ms)};{begun(function_arn)}"
    entries = _entries(trace)
    name = _name(function_arn)
    times = entries.pop(name, -1) + 1
    entries[name] = min(times, TIMES_MAX)
    lineage = "|".join(f"{one}:{count}" for one, count in list(entries.items())[-FUNCTIONS_MAX:])
    kept = [field for field in fields(trace) if not field.startswith(FIELD)]
    return ";".join([*(kept or [_new(request_id, at_ms)]), f"{FIELD}{_VERSION}{lineage}"])


def _new(request_id: str, at_ms: int) -> str:
    digest = hashlib.sha256(request_id.encode()).hexdigest()
    return f"Root=1-{at_ms // 1_000 & 0xFFFFFFFF:08x}-{digest[:24]};Parent={digest[24:40]};Sampled=0"


@functools.lru_cache(maxsize=4_096)
def begun(function_arn: str) -> str:
    """The field of a chain that begins with a run of the function."""
    return f"{FIELD}{_VERSION}{_name(function_arn)}:0"


def fields(trace: str | None) -> list[str]:
    """Of a header, as they stand there; none of one that is too long."""
    if trace is None or len(trace) > HEADER_CHARACTERS_MAX:
        return []
    return [field for part in trace.split(";") if (field := part.strip())]


def _entries(trace: str | None) -> dict[str, int]:
    """Times by function, in the order of the header."""
    for field in fields(trace):
        if field.startswith(FIELD):
            found = (_ENTRY.fullmatch(entry) for entry in field.removeprefix(FIELD).removeprefix(_VERSION).split("|"))
            return {match[1]: int(match[2]) for match in found if match is not None}
    return {}


@functools.lru_cache(maxsize=4_096)
def _name(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
