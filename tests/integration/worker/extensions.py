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
