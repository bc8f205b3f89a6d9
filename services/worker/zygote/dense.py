"""Keeping together what forks of a zygote write.

A page that a fork writes a single word of is its own from then on. What is written is little, and lies all over the memory:
new objects take whatever places are free, and every function that runs counts in its own code (CPython 3.11 and newer).
"""

import ctypes
import gc
import sys
import types

_POOL_BYTES, _POOL_HEAD_BYTES = 16384 if sys.version_info >= (3, 10) else 4096, 48
"""The interpreter's own allocator has pools for each size of objects, and takes a fresh one when those of the size are full."""
_FRESH = 4
"""So many in order from its beginning on, and a pool is a fresh one: no other had room."""
_POOLS_MAX = 1_000
_SMALL_BYTES = range(16, 513, 16)
_BYTES_HEAD = sys.getsizeof(b"")
_LARGE_BYTES = (*(1 << power for power in range(16, 10, -1)), *range(1040, 16, -16))
"""By these the C library's heap is filled, whose free places have any size; small ones are kept by their exact size."""
_FILLERS_MAX = 100_000

_held = []


def gather_code(run, modules):
    """Move the code of all functions of the modules, and of all that `run` calls, to places beside each other. What the code
    has learned of the types that it meets is learned anew: run again."""
    code = {id(function.__code__) for function in _functions() if function.__module__ in modules} | _called_by(run)
    moved = {}

    def move(old):
        if id(old) not in moved:
            parts = tuple(move(part) if isinstance(part, types.CodeType) else part for part in old.co_consts)
            moved[id(old)] = old.replace(co_consts=parts) if id(old) in code else old
        return moved[id(old)]

    for function in _functions():
        if id(function.__code__) in code:
            _held.append(function.__code__)  # Its address must not become another's.
            function.__code__ = move(function.__code__)


def fill_holes():
    """Take every free place among what is there, for good: what is allocated from now on lies together."""
    for size in _SMALL_BYTES:
        for _ in range(_POOLS_MAX):
            _held.append(_objects(size))
            if _has_fresh_pool(_held[-1], size):
                break
    try:
        libc = _heap()
    except AttributeError:
        return  # Of a C library without such figures.
    for size in _LARGE_BYTES:
        for _ in range(_FILLERS_MAX):
            top = libc.sbrk(0) - libc.mallinfo().values[_TOP_BYTES]
            place = libc.malloc(size)
            if not place or place >= top:
                libc.free(place)
                break


def _functions():
    return [thing for thing in gc.get_objects() if type(thing) is types.FunctionType]


def _called_by(run):
    called = {}

    def note(frame, event, _argument):
        if event == "call":
            called[id(frame.f_code)] = frame.f_code

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    _held.extend(called.values())
    return set(called)


def _objects(size):
    """Somewhat more than a pool has room for, and nothing of their size between them."""
    each = bytes(_POOL_BYTES // size + 2 * _FRESH)
    if size == 16:
        return [object() for _ in each]
    if size == 32:
        return [complex(0, 1) for _ in each]
    length = size - _BYTES_HEAD
    return [bytes(length) for _ in each]


def _has_fresh_pool(objects, size):
    places = [id(each) for each in objects]
    for at in range(len(places) - _FRESH):
        if places[at] % _POOL_BYTES == _POOL_HEAD_BYTES and places[at + _FRESH] - places[at] == _FRESH * size:
            return True
    return False


class _Mallinfo(ctypes.Structure):
    _fields_ = [("values", ctypes.c_int * 10)]


_TOP_BYTES = 9
"""Where in them: of the free place at the end, from which is taken what fits nowhere else."""


def _heap():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
    libc.mallinfo.restype = _Mallinfo
    return libc
