"""Extensions for tests: programs of a layer. What each does is in its function `main`, in Python."""

from __future__ import annotations

_HEAD = """#!/usr/bin/python3
import http.client, json, os, signal, sys, threading, time
NAME = os.path.basename(sys.argv[0])
IDENTIFIER = None
def call(method, path, body=None, headers=None, api=None):
    api = api or http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    sent = {"Lambda-Extension-Identifier": IDENTIFIER} if IDENTIFIER else {}
    api.request(method, path, None if body is None else json.dumps(body), {**sent, **(headers or {})})
    answer = api.getresponse()
    return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), json.loads(answer.read() or b"null")
def register(*events, name=NAME, **headers):
    global IDENTIFIER
    status, answered, body = call(
        "POST", "/2020-01-01/extension/register", {"events": events}, {"Lambda-Extension-Name": name, **headers}
    )
    IDENTIFIER = answered.get("lambda-extension-identifier")
    return status, answered, body
def following():
    return call("GET", "/2020-01-01/extension/event/next")[2]
def say(*words):
    print(NAME, *words, flush=True)
"""


def extension(main: str) -> str:
    """main: the body of the program, after its helpers."""
    return _HEAD + main


LISTENS = extension(
    """
register("INVOKE", "SHUTDOWN")
while True:
    event = following()
    say(event["eventType"], event.get("requestId", event.get("shutdownReason")))
    if event["eventType"] == "SHUTDOWN":
        say("has", event["deadlineMs"] > time.time() * 1000)
        sys.exit(0)
"""
)
"""Tells of each event."""


RECEIVES = extension(
    """
import http.server, socket, socketserver
got = open("/tmp/telemetry-%s" % NAME, "a")
def keep(text):
    got.write(text)
    got.flush()
class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        batch = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        keep("".join(json.dumps(each) + "\\n" for each in json.loads(batch)))
    do_PUT = do_POST
    def log_message(self, *args):
        pass
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            keep(line.decode())
def serve(kind):
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer.daemon_threads = True
    server = socketserver.ThreadingTCPServer(("sandbox.localdomain", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]
def subscribe(port, path="/2022-07-01/telemetry", tcp=False, **more):
    to = {"protocol": "TCP", "port": port} if tcp else {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d/" % port}
    asked = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"], "destination": to,
             "buffering": {"timeoutMs": 25}, **more}
    return call("PUT", path, {key: value for key, value in asked.items() if value is not None})
def runs():
    while following()["eventType"] != "SHUTDOWN":
        pass
"""
)
"""Helpers of an extension that receives telemetry, and keeps each record as a line of /tmp/telemetry-NAME."""
