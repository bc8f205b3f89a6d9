"""What the worker, a zygote, a sandbox's init and its runtime process say to each other. Python 3.8, standard library only.

Worker and zygote, worker and init: SOCK_SEQPACKET, one JSON object a message, descriptors beside it (SCM_RIGHTS).
Worker and runtime: SOCK_STREAM, frames of a 4-byte length (of what follows the header), a 1-byte kind and the body:

    START     JSON {"handler", "environment"}, of a program {"programs"} too       worker -> runtime, once
    INVOKE    4-byte number; 2-byte lengths of request id, ARN, trace, client context; 8-byte deadline (ms); these texts; the
              event
    PREPARED  empty: privileges are dropped, waits for START                       runtime -> worker from here on
    READY     empty: initialised, waits for INVOKE
    RESULT    4-byte number of the invocation that is answered; the response
    ERROR     the number; 1-byte length of the error type; the type; the error document
    TOO_LARGE the number; 8-byte size of a response that was over the limit
    INIT_ERROR the error document of a failed initialisation; the process ends
    BROKEN    text: the process could not be made as promised; it ends
"""

from __future__ import annotations

import array
import json
import socket
import struct
from typing import Any, Dict, List, Sequence, Tuple

HEADER = struct.Struct("!IB")
INVOKE_HEADER = struct.Struct("!IHHHHQ")
NUMBER = struct.Struct("!I")
NUMBER_MAX = 0xFFFFFFFF
SIZE = struct.Struct("!Q")

START, INVOKE = 1, 2
PREPARED, READY, RESULT, ERROR, TOO_LARGE, INIT_ERROR, BROKEN = 16, 17, 18, 19, 20, 21, 22

FRAME_BYTES_MAX = 7 * 1024 * 1024
FIELD_BYTES_MAX = 0xFFFF
RESPONSE_BYTES_MAX = 6_291_556
"""As shared.domain.limits, which a zygote cannot import."""

KIND_SERVE, KIND_EXEC, KIND_EXEC_EARLY = "serve", "exec", "exec-early"
"""What a runtime process does: serve by itself with what the zygote loaded, become a program at START, become one at once that
then reads START."""

RUNTIME_FD = 3
"""The descriptor of the stream to the worker in a program that was executed early."""

MESSAGE_BYTES_MAX = 64 * 1024
ENDED = struct.Struct("=ii")
"""From an init that sleeps (sleeper.py), in place of JSON: pid and status of the runtime process that ended."""
_FDS_MAX = 12


class FieldTooLongError(ValueError):
    """A text does not fit the 16 bits that its length has in an INVOKE frame."""


def invoke_frame(
    number: int, request_id: bytes, arn: bytes, trace: bytes, context: bytes, deadline_ms: int, event: bytes
) -> bytes:
    """Raises FieldTooLongError."""
    try:
        sizes = INVOKE_HEADER.pack(number, len(request_id), len(arn), len(trace), len(context), deadline_ms)
    except struct.error:
        for name, text in (("request id", request_id), ("ARN", arn), ("trace header", trace), ("client context", context)):
            if len(text) > FIELD_BYTES_MAX:
                raise FieldTooLongError("its %s has %d bytes, more than %d" % (name, len(text), FIELD_BYTES_MAX)) from None
        raise
    length = len(sizes) + len(request_id) + len(arn) + len(trace) + len(context) + len(event)
    return b"".join((HEADER.pack(length, INVOKE), sizes, request_id, arn, trace, context, event))


def frame(kind: int, body: bytes = b"", head: bytes = b"") -> bytes:
    return HEADER.pack(len(head) + len(body), kind) + head + body


def send_message(sock: socket.socket, message: Dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one JSON message with descriptors, which stay open here. Raises OSError."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([json.dumps(message).encode()], ancillary)


def receive_message(sock: socket.socket) -> Tuple[Dict[str, Any], List[int]]:
    """One JSON message and the descriptors that came with it (close-on-exec). An empty dict at the end of the stream."""
    data, ancillary, _flags, _address = sock.recvmsg(
        MESSAGE_BYTES_MAX, socket.CMSG_SPACE(_FDS_MAX * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds = array.array("i")
    for level, kind, raw in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(raw[: len(raw) - len(raw) % fds.itemsize])
    if not data:
        return {}, list(fds)
    if len(data) == ENDED.size:
        pid, status = ENDED.unpack(data)
        return {"killed": True} if pid == 0 else {"exit": status, "pid": pid}, list(fds)
    return json.loads(data), list(fds)
