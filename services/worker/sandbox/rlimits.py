"""Per-process limits, as recorded in AWS's python3.12 runtime, but for core dumps. Python 3.8, standard library only."""

from __future__ import annotations

import resource

_UNLIMITED = resource.RLIM_INFINITY
_NO_CORE = 1
"""Too little for a core file, and the one limit at which the kernel starts no program for a core either, where core_pattern
names one: it would run outside, as root, on whatever a function crashes with. At 0 it is started. On AWS: 10 GiB."""
LIMITS = {
    resource.RLIMIT_CORE: (_NO_CORE, _NO_CORE),
    resource.RLIMIT_MEMLOCK: (65_536, 65_536),
    resource.RLIMIT_NOFILE: (1_024, 1_024),
    resource.RLIMIT_NPROC: (742, 742),
    resource.RLIMIT_STACK: (8_388_608, _UNLIMITED),
    resource.RLIMIT_MSGQUEUE: (819_200, 819_200),
    resource.RLIMIT_NICE: (0, 0),
    resource.RLIMIT_RTPRIO: (0, 0),
}
"""resource: (soft, hard) in the resource's own unit: bytes, descriptors, processes."""


def apply() -> None:
    """Set the limits, never above the hard ones that are there: raising those needs a capability that containers lack."""
    for kind, wanted in LIMITS.items():
        hard_now = resource.getrlimit(kind)[1]
        soft, hard = (_at_most(value, hard_now) for value in wanted)
        resource.setrlimit(kind, (_at_most(soft, hard), hard))


def _at_most(value: int, bound: int) -> int:
    if bound == _UNLIMITED:
        return value
    return bound if value == _UNLIMITED else min(value, bound)
