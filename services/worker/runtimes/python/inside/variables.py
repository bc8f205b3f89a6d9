"""Setting all environment variables at once."""

import ctypes
import os
import struct

_libc = ctypes.CDLL(None)
_libc.malloc.restype, _libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
_environ = ctypes.c_void_p.in_dll(_libc, "environ")
_POINTER = struct.Struct("P")
# No arrays of ctypes: each length is a type of its own, and making a type writes all over the interpreter's cache of methods.


def replace(environment):
    """Make `environment` the variables of this process, for Python and for C code.

    os.environ.update calls setenv for each, which touches a page of the zygote's heap for each: a third of a cold start.
    Raises ValueError on a variable that cannot be one.
    """
    encoded = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
    if any(not name or b"=" in name or b"\0" in name or b"\0" in value for name, value in encoded.items()):
        raise ValueError("not an environment variable")
    lines = [name + b"=" + value + b"\0" for name, value in encoded.items()]
    at = _copy(b"".join(lines))
    pointers = []
    for line in lines:
        pointers.append(_POINTER.pack(at))
        at += len(line)
    _environ.value = _copy(b"".join(pointers) + _POINTER.pack(0))
    os.environ._data.clear()
    os.environ._data.update(encoded)


def _copy(data):
    """To memory that is never freed: what the C library's environ points into must not be."""
    place = _libc.malloc(len(data))
    if not place:
        raise MemoryError
    return ctypes.memmove(place, data, len(data))
