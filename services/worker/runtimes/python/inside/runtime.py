"""The Python runtime: AWS's own handler code (awslambdaric) over our frames instead of its HTTP client.

What a zygote asks of the module that its runtimes are served by: `prepare` and `warm_up` once, in the zygote, `warm_up` in each
process that waits, `run` when it is given its function.
"""

import functools
import importlib
import json
import logging
import os
import struct
import sys
import time
import traceback

from ..sandbox import mounts, protocol
from . import preload, variables
from .preload import prepare  # noqa: F401

_READ_BYTES = 65536
_LOG_FRAME = struct.Struct("!IIQ")
_TEXT = 0xA55A0003


class _WarmedUp(BaseException):
    """Leads out of awslambdaric's endless loop."""


def warm_up():
    """Run one made-up event through everything that a cold start runs through, and undo what that left.

    Most of a cold start is page faults: memory shared with the zygote is copied when it is first written. Done here, before
    there is a function, they cost nobody's time. Done in the zygote too, what is made lazily is made once.
    """
    bootstrap = sys.modules["awslambdaric.bootstrap"]
    root, streams, before = logging.getLogger(), (sys.stdout, sys.stderr), dict(os.environ)
    handlers, level, path = list(root.handlers), root.level, list(sys.path)
    make_sink, make_client = bootstrap.create_log_sink, bootstrap.LambdaRuntimeClient
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            start = {"handler": "lambdad_warm_up.handler", "environment": {"AWS_WARM_UP_%d" % n: "x" * 40 for n in range(30)}}
            _prepare_interpreter(start["environment"])
            sys.path.insert(0, mounts.WARM_UP)
            bootstrap.create_log_sink = functools.partial(Sink, nowhere.fileno())
            _serve(bootstrap, start["handler"], _OneEvent(sys.modules["awslambdaric.lambda_runtime_client"]))
        except _WarmedUp:
            pass
        finally:
            sys.stdout, sys.stderr = streams
            bootstrap.create_log_sink, bootstrap.LambdaRuntimeClient = make_sink, make_client
            root.handlers[:], sys.path[:] = handlers, path
            root.setLevel(level)
            variables.replace(before)
            sys.modules.pop("lambdad_warm_up", None)
            sys.path_importer_cache.pop(mounts.WARM_UP, None)
            sys.path_importer_cache.pop(mounts.CODE, None)
            bootstrap._GLOBAL_AWS_REQUEST_ID = None


def _prepare_interpreter(environment):
    variables.replace(environment)
    time.tzset()
    os.chdir(mounts.CODE)
    preload.set_path(environment.get("PYTHONPATH", ""))
    preload.forget_shadowed()


def _serve(bootstrap, handler, client):
    if bootstrap.run.__code__.co_argcount == 3:
        # The clients of python3.8 and python3.9 make their HTTP client themselves.
        bootstrap.LambdaRuntimeClient = lambda *_arguments: client
        bootstrap.run(mounts.CODE, handler, "")
    else:
        bootstrap.run(handler, client)


def run(stream, start):
    """Become the function: its variables, its path, its handler; serve until the worker hangs up. Returns the exit status."""
    environment = start["environment"]
    _prepare_interpreter(environment)
    sys.argv[:] = ["/var/runtime/bootstrap.py"]
    bootstrap = sys.modules["awslambdaric.bootstrap"]
    if "AWS_LAMBDA_LOG_FORMAT" in environment or "AWS_LAMBDA_LOG_LEVEL" in environment:
        # The client reads both while it is imported, and it was imported long ago.
        bootstrap = importlib.reload(bootstrap)
    bootstrap.create_log_sink = functools.partial(Sink, os.dup(1))
    if sys.version_info < (3, 9):
        _leave_request_id_out(bootstrap)
    client = Client(stream, sys.modules["awslambdaric.lambda_runtime_client"])
    try:
        _serve(bootstrap, start["handler"], client)
    except SystemExit as end:
        return _exit_status(end)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        for output in (sys.stdout, sys.stderr):
            try:
                output.flush()
            except Exception:
                pass
    return 0


def _exit_status(end):
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    sys.stderr.write("%s\n" % end.code)
    return 1


def _leave_request_id_out(bootstrap):
    """AWS's python3.8 answers errors without the request id that later clients add."""
    make_error = bootstrap.make_error

    def without_request_id(error_message, error_type, stack_trace, invoke_id=None):
        document = make_error(error_message, error_type, stack_trace, invoke_id)
        if invoke_id is not None:
            document.pop("requestId", None)
        return document

    bootstrap.make_error = without_request_id


class Sink:
    """Where the client's log lines go: as records, framed as AWS's runtimes do, but by the pipe of standard output, so that
    they keep their place among printed lines."""

    def __init__(self, fd):
        # Held from before there is a function, which may replace them.
        self._fd, self._write, self._now_ns = fd, os.write, time.time_ns

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        return None

    def log(self, msg, frame_type=None):
        text = msg.encode("utf-8", "surrogatepass")
        left = memoryview(_LOG_FRAME.pack(_TEXT, len(text), self._now_ns() // 1000) + text)
        while left:
            left = left[self._write(self._fd, left) :]

    def log_error(self, message_lines):
        self.log("\n".join(message_lines))


class Request:
    """What awslambdaric's loop reads of an event."""

    __slots__ = (
        "client_context",
        "cognito_identity",
        "content_type",
        "deadline_time_in_ms",
        "event_body",
        "invocation_id",
        "invoke_id",
        "invoked_function_arn",
        "tenant_id",
        "x_amzn_trace_id",
    )


class Client:
    """Stands in for awslambdaric's LambdaRuntimeClient. What it uses once there is a function it took before: functions, and
    libraries that mock or trace for them, replace parts of the standard library."""

    def __init__(self, stream, client_module):
        self._send, self._receive, self._receive_into = stream.sendall, stream.recv, stream.recv_into
        self._to_json, self._from_json = json.JSONEncoder().encode, json.JSONDecoder().decode
        self._end = os._exit
        self._ready = False
        self._number = protocol.NUMBER.pack(0)
        self.marshaller = client_module.LambdaMarshaller()

    def wait_next_invocation(self):
        if not self._ready:
            self._ready = True
            self._send(protocol.frame(protocol.READY))
        return self._parse(self._receive(_READ_BYTES))

    def _parse(self, data):
        while len(data) < protocol.HEADER.size:
            data += self._read()
        length, kind = protocol.HEADER.unpack_from(data)
        total = protocol.HEADER.size + length
        if kind != protocol.INVOKE or length > protocol.FRAME_BYTES_MAX:
            self._end(70)
        if len(data) < total:
            data = self._read_rest(data, total)
        number, id_size, arn_size, trace_size, context_size, deadline = protocol.INVOKE_HEADER.unpack_from(
            data, protocol.HEADER.size
        )
        self._number = protocol.NUMBER.pack(number)
        at = protocol.HEADER.size + protocol.INVOKE_HEADER.size
        request = Request()
        request.invoke_id = data[at : at + id_size].decode()
        at += id_size
        request.invoked_function_arn = data[at : at + arn_size].decode()
        at += arn_size
        request.x_amzn_trace_id = data[at : at + trace_size].decode() if trace_size else None
        at += trace_size
        request.client_context = data[at : at + context_size].decode() if context_size else None
        at += context_size
        request.event_body = bytes(data[at:])
        request.deadline_time_in_ms = deadline
        request.content_type = "application/json"
        request.cognito_identity = request.tenant_id = request.invocation_id = None
        return request

    def _read(self):
        chunk = self._receive(_READ_BYTES)
        if not chunk:
            self._end(0)
        return chunk

    def _read_rest(self, data, total):
        buffer = bytearray(total)
        buffer[: len(data)] = data
        view, at = memoryview(buffer), len(data)
        while at < total:
            count = self._receive_into(view[at:])
            if count == 0:
                self._end(0)
            at += count
        return buffer

    def post_invocation_result(self, invoke_id, result_data, content_type="application/json", invocation_id=None):
        body = result_data if isinstance(result_data, bytes) else result_data.encode("utf-8")
        if len(body) > protocol.RESPONSE_BYTES_MAX:
            self._send(protocol.frame(protocol.TOO_LARGE, protocol.SIZE.pack(len(body)), self._number))
        else:
            self._send(protocol.frame(protocol.RESULT, body, self._number))

    def post_invocation_error(self, invoke_id, error_response_data, xray_fault, invocation_id=None):
        body = error_response_data.encode("utf-8", "surrogatepass")
        if len(body) > protocol.RESPONSE_BYTES_MAX:
            self._send(protocol.frame(protocol.TOO_LARGE, protocol.SIZE.pack(len(body)), self._number))
            return
        error_type = str(self._from_json(error_response_data).get("errorType", "")).encode()[:255]
        self._send(protocol.frame(protocol.ERROR, bytes([len(error_type)]) + error_type + body, self._number))

    def post_init_error(self, error_response_data, error_type_override=None):
        self._send(protocol.frame(protocol.INIT_ERROR, self._to_json(error_response_data).encode()))


class _OneEvent(Client):
    """A client that knows one event and then ends the loop."""

    EVENT = b'{"key": [1, 2.5, true, null, {"text": "value"}]}'
    ROUNDS = 2

    def __init__(self, client_module):
        Client.__init__(self, self, client_module)
        self._rounds = 0

    def sendall(self, data):
        pass

    recv = recv_into = sendall

    def wait_next_invocation(self):
        self._rounds += 1
        if self._rounds > self.ROUNDS:
            raise _WarmedUp
        texts = b"8e1b3b2a-0000-4000-8000-000000000000" + b"arn" + b"Root=1"
        body = protocol.INVOKE_HEADER.pack(0, 36, 3, 6, 0, 4_102_444_800_000) + texts + self.EVENT
        return self._parse(protocol.frame(protocol.INVOKE, body))
