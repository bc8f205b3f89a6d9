"""`make test-compose`: build the images, start docker-compose.yml, drive it through the published port, stop it.

Runs on Docker where an engine answers, else on podman with runc. Without an image registry in reach the base image is made from
Debian's packages. Exit status 0 when everything held; every wait has a deadline; containers, volumes and network are removed
at the end, images stay as the next build's cache.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from deploy.docker.engine import Engine, EngineError, find_engine

ROOT = Path(__file__).resolve().parents[2]
WHOLE_TIMEOUT_S = 1_500
READY_TIMEOUT_S = 120.0
POLL_S = 0.25
QUEUE = "test-compose"
ROLE = "arn:aws:iam::000000000000:role/test"
PYTHON = """
import os, socket, urllib.request

def handler(event, context):
    answer = {"got": event, "uid": os.getuid()}
    if "reach" in event:
        url = os.environ["AWS_ENDPOINT_URL"] + "/_lambdad/health"
        answer["endpoint"] = urllib.request.urlopen(url, timeout=5).status
        answer["open"] = [place for place in event["reach"] if is_open(*place)]
    return answer

def is_open(host, port):
    try:
        socket.create_connection((host, port), 0.3).close()
    except OSError:
        return False
    return True
"""
# As in the documentation of the SDK. A presigned address is made without anybody being asked.
NODEJS_WITH_THE_SDK = """
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const s3 = new S3Client({});

export const handler = async event => {
  const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket: "bucket", Key: "key" })));
  return { got: event, uid: process.getuid(), node: process.versions.node, host: url.host };
};
"""
NODES = ("nodejs20.x", "nodejs22.x", "nodejs24.x")
SOURCES = {"python3.11": ("index.py", PYTHON)} | dict.fromkeys(NODES, ("index.mjs", NODEJS_WITH_THE_SDK))
UNCONFINED = {"worker"}
STRANGER_AT_KAFKA = """
import socket, struct
with socket.create_connection(("kafka", 9092), timeout=5) as connection:
    body = struct.pack(">hhih", 3, 1, 1, 1) + b"x" + struct.pack(">i", -1)  # Metadata, version 1, of all topics
    connection.sendall(struct.pack(">i", len(body)) + body)
    print("open" if connection.recv(1) else "closed")
"""
SERVICES = ("frontend", "scheduler", "worker", "poller", "router")
ENGINES = ("postgres", "redis", "kafka")
PORTS = {"postgres": 5432, "redis": 6379, "kafka": 9092, "worker": 9200, "frontend": 9000, "scheduler": 9100}


def say(text: str) -> None:
    print(f"test-compose: {text}", flush=True)


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = READY_TIMEOUT_S) -> Any:
    """The condition's first truthy value; EngineError with its last problem when there is none in time."""
    end = time.monotonic() + deadline_s
    problem: object = None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (OSError, EngineError) as error:
            problem = error
        time.sleep(POLL_S)
    raise EngineError(f"{what}: not within {deadline_s:.0f} s ({problem})")


def check(holds: bool, what: str) -> None:
    if not holds:
        raise EngineError(f"does not hold: {what}")
    say(f"ok: {what}")


def is_ready(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_lambdad/ready", timeout=2) as answer:
        return bool(answer.status == 200)


def wait_ready(engine: Engine, port: int) -> None:
    wait_until(lambda: is_ready(port), "the endpoint is ready")
    for name in (*ENGINES, *SERVICES):
        wait_until(lambda name=name: engine.is_healthy(name), f"the health check of {name} passes")  # type: ignore[misc]
    say("ok: every health check passes")


def client(engine: Engine) -> Any:
    import boto3

    exports = engine.execute("frontend", "lambdad-container", "env")
    words = [word for line in exports.splitlines() for word in line.split()[1:]]
    variables = dict(word.split("=", 1) for word in words)
    return boto3.client(
        "lambda",
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def package(file: str, source: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo(file)
        entry.external_attr = 0o644 << 16
        archive.writestr(entry, source)
    return buffer.getvalue()


def name_of(runtime: str) -> str:
    return f"compose-{runtime.replace('.', '-')}"


def create(aws: Any, runtime: str) -> str:
    name = name_of(runtime)
    aws.create_function(
        FunctionName=name, Runtime=runtime, Role=ROLE, Handler="index.handler", Code={"ZipFile": package(*SOURCES[runtime])}
    )
    wait_until(lambda: aws.get_function_configuration(FunctionName=name)["State"] == "Active", f"{name} is active", 30)
    return name


def invoke(aws: Any, name: str) -> dict[str, Any]:
    reply = aws.invoke(FunctionName=name, Payload=json.dumps({"n": 1}), LogType="Tail")
    answer = json.loads(reply["Payload"].read())
    check("FunctionError" not in reply and answer.get("got") == {"n": 1}, f"{name} answers its event ({answer})")
    check(answer["uid"] >= 1_000, f"{name} runs as a user of its own")
    return dict(answer)


def check_nodes(aws: Any, engine: Engine) -> None:
    """Each is the version that its runtime names, and has the SDK; `lambdad runtimes` says so where they are."""
    listed = [line.split() for line in engine.execute("worker", "lambdad", "runtimes").splitlines()]
    for runtime in NODES:
        answer = invoke(aws, create(aws, runtime))
        version = runtime.removeprefix("nodejs").removesuffix("x")
        check(answer["node"].startswith(version), f"{runtime} is Node.js {answer['node']}")
        check(answer["host"] == "169.254.100.2:9000", f"{runtime} signs with the SDK for JavaScript, for the cluster")
        check([runtime, "runs", "here"] in listed, f"`lambdad runtimes` lists {runtime}")


def invoke_asynchronously(engine: Engine, aws: Any, name: str) -> None:
    destination = {"OnSuccess": {"Destination": f"arn:aws:sqs:us-east-1:000000000000:{QUEUE}"}}
    aws.put_function_event_invoke_config(FunctionName=name, DestinationConfig=destination)
    reply = aws.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps({"n": 2}))
    check(reply["StatusCode"] == 202, "an asynchronous invocation is accepted")

    def arrived() -> bool:
        return '"n":2' in engine.execute(
            "redis", "lambdad-container", "redis-cli", "XRANGE", f"queue:{QUEUE}", "-", "+"
        ).replace("\\", "").replace(" ", "")

    wait_until(arrived, "the outcome is in the queue that the function names as its destination", 60)
    say("ok: it ran and its outcome is in the queue that the function names as its destination")


def check_confinement(engine: Engine) -> None:
    for name in (*ENGINES, *SERVICES):
        status = dict(line.split(":", 1) for line in engine.execute(name, "cat", "/proc/1/status").splitlines() if ":" in line)
        capabilities, uid = int(status["CapEff"], 16), int(status["Uid"].split()[0])
        if name in UNCONFINED:
            say(f"{name}: uid {uid}, capabilities {capabilities:#x}")
            continue
        if capabilities or uid == 0 or status["NoNewPrivs"].strip() != "1":
            raise EngineError(f"{name} runs as uid {uid} with capabilities {capabilities:#x}")
    say("ok: all but the worker run without root, without capabilities and without a way to get any")


def check_network(engine: Engine, aws: Any, name: str) -> None:
    """By address: names of containers may well resolve."""
    places = [(engine.execute(service, "hostname", "-i").split()[0], port) for service, port in PORTS.items()]
    aws.update_function_configuration(FunctionName=name, Timeout=20)
    wait_until(lambda: aws.get_function_configuration(FunctionName=name)["LastUpdateStatus"] == "Successful", "the update", 30)
    reply = aws.invoke(FunctionName=name, Payload=json.dumps({"reach": places}))
    answer = json.loads(reply["Payload"].read())
    check(answer.get("endpoint") == 200, f"a function reaches its cluster's endpoint ({answer})")
    check(answer["open"] == [], "and no port of an engine, of a service or of its own worker")


def check_kafka_wants_its_password(engine: Engine) -> None:
    """Asked in the network of the cluster: a client without a password is shown out before it is told anything."""
    answer = engine.execute("poller", "/opt/lambdad/bin/python", "-c", STRANGER_AT_KAFKA)
    if answer.strip() != "closed":
        raise EngineError(f"Kafka answers a client without a password: {answer}")
    say("ok: Kafka answers nobody without its password")


def drive(engine: Engine, port: int) -> None:
    say("starting the cluster")
    started = time.monotonic()
    engine.compose("up", "-d", "--no-build")
    wait_ready(engine, port)
    say(f"ready after {time.monotonic() - started:.0f} s")
    check_confinement(engine)
    check_kafka_wants_its_password(engine)
    aws = client(engine)
    python = create(aws, "python3.11")
    invoke(aws, python)
    check_network(engine, aws, python)
    check_nodes(aws, engine)
    invoke_asynchronously(engine, aws, python)
    say("stopping it and starting it again with the same volumes")
    engine.compose("down")
    engine.compose("up", "-d", "--no-build")
    wait_ready(engine, port)
    aws = client(engine)
    invoke(aws, python)
    check("node" in invoke(aws, name_of(NODES[0])), "functions in Node.js are there again")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def deadline(seconds: int) -> Iterator[None]:
    def too_late(*_: object) -> NoReturn:
        raise EngineError(f"not done within {seconds} s")

    def stopped(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, stopped)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        # What follows is the clean-up, which has deadlines of its own and must not be cut short.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="test-compose", description="Build and drive docker-compose.yml for real.")
    parser.add_argument("--no-build", action="store_true", help="use the images of an earlier build")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    options = parser.parse_args(arguments)
    port = free_port()
    environment = {**os.environ, "LAMBDAD_PORT": str(port), "COMPOSE_PROJECT_NAME": f"lambdad-test-{os.getpid()}"}
    scratch = Path(tempfile.mkdtemp(prefix="lambdad-compose-"))
    started = time.monotonic()
    engine: Engine | None = None
    try:
        with deadline(WHOLE_TIMEOUT_S):
            engine = find_engine(ROOT, scratch, environment, say)
            if not options.no_build:
                say("building the images")
                engine.build()
                say(f"built after {time.monotonic() - started:.0f} s")
            drive(engine, port)
    except (EngineError, KeyboardInterrupt) as error:
        say(f"FAILED: {error or 'interrupted'}")
        if engine:
            print(engine.logs(), file=sys.stderr)
        return 1
    finally:
        if engine and not options.keep:
            engine.clean()
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"all held, {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
