"""Functions that do the worst they can to whoever runs them, for as many seconds as their event says."""

from __future__ import annotations

from dataclasses import dataclass, field

EVENT_BYTES = 5_900_000


@dataclass(frozen=True)
class Hostile:
    """source: of the module app, or of a program that is the bootstrap. at_once: invocations that run beside each other.
    event_bytes: how much the event is filled up to. parameters: of CreateFunction."""

    source: str
    custom: bool = False
    memory_mb: int = 128
    at_once: int = 1
    event_bytes: int = 0
    parameters: dict[str, object] = field(default_factory=dict)


_WRITES = """
import os, time
def handler(event, context):
    until = time.time() + event["seconds"]
    while time.time() < until:
        os.write(1, %s)
"""

_FRAMES = """
import os, struct, time
def handler(event, context):
    until = time.time() + event["seconds"]
    while time.time() < until:
        os.write(3, %s)
"""

_CUSTOM = """#!/usr/bin/python3
import json, os, socket, threading, time
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
NEXT = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

def connect(small=False):
    s = socket.socket()
    if small:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.connect((host, int(port)))
    return s

def message(s):
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        data += s.recv(65536)
    head, _, body = data.partition(b"\\r\\n\\r\\n")
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\\r\\n")[1:])
    while len(body) < int(headers[b"content-length"]):
        body += s.recv(1 << 20)
    return headers, body

def read_away(s):
    try:
        while s.recv(1 << 20):
            pass
    except OSError:
        pass

def post(request_id):
    return b"POST /2018-06-01/runtime/invocation/" + request_id + b"/response HTTP/1.1\\r\\nHost: x\\r\\n"

def bounded(s, data, until):
    s.settimeout(max(0.01, until - time.time()))
    try:
        s.sendall(data)
    except OSError:
        pass

api = connect()
while True:
    api.sendall(NEXT)
    headers, body = message(api)
    request_id = headers[b"lambda-runtime-aws-request-id"]
    until = time.time() + json.loads(body)["seconds"]
    kept = []
    while time.time() < until:
        %s
        time.sleep(0.01)
    for each in kept:
        each.close()
    answer = connect()
    answer.sendall(post(request_id) + b"Content-Length: 2\\r\\n\\r\\n{}")
    message(answer)
    answer.close()
"""


def _custom(attack: str) -> str:
    return _CUSTOM % attack.strip().replace("\n", "\n        ")


_PINGS = """
s = connect(); kept.append(s); threading.Thread(target=read_away, args=(s,), daemon=True).start()
while time.time() < until:
    bounded(s, b"GET /2018-06-01/ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 200, until)
"""
_EVENTS_UNREAD = """
for _ in range(10):
    s = connect(small=True); kept.append(s)
    bounded(s, NEXT * 150, time.time() + 0.05)
bounded(api, NEXT * 150, time.time() + 0.05)
api.close(); api = connect(small=True)
"""
_BODIES_UNFINISHED = """
for _ in range(40):
    s = connect(); kept.append(s)
    bounded(s, post(request_id) + b"Content-Length: 6200000\\r\\n\\r\\n" + b"x" * 6100000, time.time() + 0.2)
del kept[:-64]
"""
_HEADERS_UNFINISHED = """
for _ in range(50):
    s = connect(); kept.append(s)
    bounded(s, post(request_id) + b"A: " + b"x" * 1100000, time.time() + 0.2)
del kept[:-64]
"""
_CONNECTIONS = """
while time.time() < until:
    connect().close()
"""
_SMALLEST_CHUNKS = """
s = connect(); kept.append(s)
bounded(s, b"POST /2018-06-01/runtime/init/error HTTP/1.1\\r\\nHost: x\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n", until)
while time.time() < until:
    bounded(s, b"1\\r\\nx\\r\\n" * 10000, until)
"""

_SOCKETS = """
import socket, time
def handler(event, context):
    until = time.time() + event["seconds"]
    kept = []
    try:
        while time.time() < until:
            listener = socket.create_server(("127.0.0.1", 0))
            a = socket.create_connection(listener.getsockname())
            b, _ = listener.accept()
            kept += [listener, a, b]
            a.setblocking(False)
            try:
                while time.time() < until:
                    a.send(b"x" * 65536)
            except BlockingIOError:
                pass
    except OSError:
        pass
    while time.time() < until:
        time.sleep(0.01)
"""
_IMPORT_LOOPS = """
import os
[os.fork() for _ in range(3)]
while True:
    pass
"""
_CHILDREN = """
import os, signal, time
def handler(event, context):
    for _ in range(8):
        if os.fork() == 0:
            os.setsid()
            signal.signal(15, signal.SIG_IGN)
            while True:
                pass
"""

_FILES = """
import os, time
def handler(event, context):
    until = time.time() + event["seconds"]
    while time.time() < until:
        with open("/tmp/file", "wb", 0) as file:
            for _ in range(40):
                file.write(bytes(1 << 20))
        os.unlink("/tmp/file")
"""

_LINE_WITHOUT_END = """
import os
def handler(event, context):
    for _ in range(100 if event["seconds"] else 1):
        os.write(1, b"x" * (1 << 20))
    os.write(1, b"\\n")
"""

ROWS = {
    "a line of 100 MB": Hostile(_LINE_WITHOUT_END, memory_mb=1_769),
    "a log of a gigabyte, as fast as it is taken": Hostile(
        _WRITES % '(b"x" * 99 + b"\\n") * 10000', memory_mb=1_769, at_once=2
    ),
    "A2 a flood of the shortest lines": Hostile(_WRITES % 'b"a\\n" * 32768', memory_mb=256, at_once=9),
    "A3 lines that grow when they are encoded": Hostile(_WRITES % 'b"\\x01" * 250000 + b"\\n"', memory_mb=256, at_once=2),
    "A4 calls without end": Hostile(_custom(_PINGS), custom=True),
    "A4 connections without end": Hostile(_custom(_CONNECTIONS), custom=True, memory_mb=512),
    "A4 a body of the smallest chunks": Hostile(_custom(_SMALLEST_CHUNKS), custom=True, memory_mb=512),
    "A5 frames that mean nothing any more": Hostile(_FRAMES % 'struct.pack("!IB", 0, 16) * 12000', at_once=4),
    "A6 an event asked for again and again and never read": Hostile(
        _custom(_EVENTS_UNREAD), custom=True, event_bytes=EVENT_BYTES
    ),
    "A7 bodies that do not end": Hostile(_custom(_BODIES_UNFINISHED), custom=True, memory_mb=512),
    "A7 headers that do not end": Hostile(_custom(_HEADERS_UNFINISHED), custom=True, memory_mb=512),
    "A8 sockets that nobody reads": Hostile(_SOCKETS),
    "A9 an import that takes every core": Hostile(_IMPORT_LOOPS, parameters={"Timeout": 4}),
    "A10 children that go on after the response": Hostile(_CHILDREN, at_once=2),
    "A11 answers to nothing": Hostile(_FRAMES % 'struct.pack("!IBI", 10, 18, 4000000000) + b"123456"', at_once=4),
    "A26 files that come and go": Hostile(_FILES, memory_mb=512, at_once=2),
    "A32 ordinary lines without end": Hostile(
        _WRITES % 'b"an ordinary line of a log, as functions write it\\n" * 20', at_once=2
    ),
}
