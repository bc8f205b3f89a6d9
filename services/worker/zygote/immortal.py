"""Keeping what a zygote imported shared with its forks.

Counting references writes to an object, and a write makes a private copy of the page: a page fault while a function starts, and
memory for as long as it lives. CPython 3.12 and newer never count references to objects that are marked immortal. Measured with
python3.12 and the SDK: 3.2 instead of 5.4 MB an idle environment, and half the time of a cold start.
"""

import gc
import sys
import types

_IMMORTAL = 0xD0000000 if sys.version_info >= (3, 14) else 0xFFFFFFFF
"""The low half of a reference count that this interpreter takes for immortal: 3.12 and 3.13 the largest alone, 3.14 any of a
range. Where 3.14 held a reference before, it counts on without a look, which must not lead out of the range."""
_IMMORTAL_FROM = 0x80000000
"""What has so much already was made immortal by the interpreter itself."""


def supported():
    """Whether objects of this interpreter begin with such a count: not before 3.12, and not without its lock."""
    return (
        sys.implementation.name == "cpython"
        and (3, 12) <= sys.version_info[:2] <= (3, 14)
        and "t" not in getattr(sys, "abiflags", "")
        and sys.byteorder == "little"
        and sys.maxsize > 2**32
    )


def make_everything_immortal():
    """Mark every object there is. What is dropped later is never freed: meant for the moment before forking starts."""
    if not supported():
        return
    import ctypes

    count_at = ctypes.c_uint32.from_address
    untracked = []
    for thing in gc.get_objects():
        if type(thing) is types.FrameType:
            continue
        count_at(id(thing)).value = _IMMORTAL
        untracked.extend(gc.get_referents(thing))
        while untracked:
            part = untracked.pop()
            count = count_at(id(part))
            if count.value < _IMMORTAL_FROM and not gc.is_tracked(part):
                count.value = _IMMORTAL
                untracked.extend(gc.get_referents(part))
