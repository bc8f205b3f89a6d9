"""The wire protocol between a caller (frontend, poller, router, scheduler) and a worker, version 3. See docs/wire.md.

A frame is `u32 length | u8 type | u32 stream | body`, big-endian; length counts type, stream and body. Stream 0 is the
connection itself; every invocation has a stream of its own, chosen by the caller, never reused on a connection.
Bodies with a header are `u32 header length | header (MessagePack array) | payload bytes`.
"""

from __future__ import annotations

import enum
import struct

import msgspec

from shared.domain.functions import VersionSpec

PROTOCOL_VERSION = 3
FRAME_BYTES_MAX = 512 * 1024
INLINE_PAYLOAD_BYTES_MAX = 256 * 1024
"""A payload up to this size travels inside INVOKE or RESULT; the rest of a larger one as DATA frames of at most this size."""
WINDOW_BYTES = 1024 * 1024
"""Flow control: DATA a side may send on a stream before it needs CREDIT."""
TEXT_CHARACTERS_MAX = 16_000
"""Of each text of an `InvokeHeader` that comes from a client: as UTF-8 it stays below 65,536 bytes whatever it holds."""

PREFIX = struct.Struct(">IBI")
U32 = struct.Struct(">I")


class FrameType(enum.IntEnum):
    HELLO = 1  # both sides, first frame: Hello
    AUTH = 2  # both sides: HMAC-SHA256 over both nonces, keyed with the cluster secret
    INVOKE = 3  # caller: InvokeHeader + first bytes of the event
    DATA = 4  # both: more bytes of the event, or of the response
    CREDIT = 5  # both: u32, bytes of DATA that may be sent further on this stream
    RESULT = 6  # worker: ResultHeader + last bytes of the response; it ran; ends the stream, unless it says settling
    REFUSED = 7  # worker: Refusal; nothing ran; ends the stream
    CANCEL = 8  # caller: stop the invocation; the worker still ends the stream with RESULT, REFUSED or BROKEN
    STOP = 9  # scheduler: StopEnvironments
    PING = 10
    PONG = 11
    STREAM = 12  # worker: StreamHeader; the response follows as DATA while the function writes it
    BROKEN = 13  # worker: Broken; it ran, and its response is incomplete or lost; ends the stream
    SETTLED = 14  # worker: Settled; after a RESULT that said settling; ends the stream


class Hello(msgspec.Struct, frozen=True, array_like=True):
    protocol: int
    role: str
    instance: str
    nonce: bytes


class InvokeHeader(msgspec.Struct, frozen=True, array_like=True):
    """epoch, fence: the lease's; a worker refuses one older than what it has seen for the environment.

    environment_id: the leased environment; for a cold start the identifier that the new one gets. spec: cold starts only.
    deadline_ms: Unix time by which the caller no longer wants an answer. evict: environments to stop first to make room.
    prepare: with spec; start an environment for provisioned concurrency, and answer when it has initialised. There is no event.
    streamed: the caller takes the response while the function writes it, should the function stream.
    """

    epoch: int
    fence: int
    environment_id: str
    version_key: str
    request_id: str
    invoked_arn: str
    deadline_ms: int
    payload_bytes: int
    log_tail: bool = False
    client_context: str | None = None
    trace: str | None = None
    spec: VersionSpec | None = None
    evict: tuple[str, ...] = ()
    prepare: bool = False
    streamed: bool = False


class StreamHeader(msgspec.Struct, frozen=True, array_like=True):
    """The function streams its response: all of it goes as DATA, and RESULT holds nothing but an error document, if any."""

    content_type: str


class ResultHeader(msgspec.Struct, frozen=True, array_like=True):
    """reusable: the environment is idle again and may be leased; otherwise it is gone. settling: neither yet, for its
    extensions still work; SETTLED says which."""

    reusable: bool
    payload_bytes: int
    function_error: str | None = None
    log_tail: bytes = b""
    duration_ms: float = 0.0
    billed_ms: int = 0
    init_ms: float | None = None
    max_memory_mb: int = 0
    settling: bool = False


class Settled(msgspec.Struct, frozen=True, array_like=True):
    """Extensions have done with what ran. reusable: as in ResultHeader."""

    reusable: bool


class RefusalReason(enum.StrEnum):
    UNKNOWN_ENVIRONMENT = "unknown_environment"
    STALE_FENCE = "stale_fence"
    BUSY = "busy"
    NO_ROOM = "no_room"
    DRAINING = "draining"
    CANCELLED = "cancelled"
    UNSUPPORTED_RUNTIME = "unsupported_runtime"
    FAILED = "failed"
    PACKAGE_REFUSED = "package_refused"
    """The function's code or one of its layers must not be unpacked: here or anywhere, now or later."""


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """Nothing ran, so it may be tried elsewhere; a refused package may not. gone: the environment named does not exist (any
    more) at this worker."""

    reason: RefusalReason
    gone: bool
    detail: str = ""


class Broken(msgspec.Struct, frozen=True, array_like=True):
    """The function ran, and its response is incomplete or lost. reusable: as in ResultHeader."""

    reusable: bool
    detail: str = ""


class StopEnvironments(msgspec.Struct, frozen=True, array_like=True):
    environment_ids: tuple[str, ...]


class WireError(Exception):
    """The peer broke the protocol; the connection must be closed."""
