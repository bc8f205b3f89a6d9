"""Random faults: processes of a worker are killed, functions fail in every way, are changed and deleted, callers go away."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from botocore.exceptions import BotoCoreError, ClientError

from tests.chaos.census import Census, Processes
from tests.support import PYTHON, ROLE, wait_until, zip_of

CALLERS = 8
BETWEEN_WORKERS_S = 31.0
"""A service that ends again sooner is started again later and later."""
FAULTS_A_WORKER = 50
Fault = Callable[[str], str | None]
"""Makes one, by way of the function that is named; tells its name if it made another than it was to."""

SOURCE = """
import ctypes, os, time
generation = GENERATION
held = []
def leave():
    if os.fork() == 0:
        os.setsid()
        while True:
            pass
def handler(event, context):
    kind = event['kind']
    if kind == 'raise':
        raise ValueError('as asked')
    if kind == 'exit':
        os._exit(event['n'] % 4)
    if kind == 'crash':
        ctypes.string_at(0)
    if kind == 'hang':
        time.sleep(60)
    if kind == 'grow':
        while True:
            held.append(bytearray(8 << 20))
    if kind == 'leave':
        leave()
    if kind == 'fill':
        open('/tmp/%d' % event['n'], 'wb').write(bytes(1 << 20))
    if kind == 'late':
        import threading
        threading.Timer(0.02, lambda: os._exit(1)).start()
    return {'n': event['n'], 'generation': generation}
"""
FAILING = ("raise", "exit", "crash", "hang", "grow", "leave", "fill", "late")


class NobodyThereError(Exception):
    """Who was to be killed is not there, or ended by itself just now."""


class Faults:
    """made: what was done how often; refused: what could not be. wrong: answers that are of another event, and what else must
    never be seen."""

    def __init__(self, client: Any, census: Census, seed: int) -> None:
        self._client = client
        self._census = census
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._killing = threading.Lock()
        self._worker_killed_at = float("-inf")
        self._functions = [f"faulty-{uuid.uuid4().hex[:8]}" for _ in range(CALLERS)]
        self._number = 0
        self.made: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[str] = []

    def prepare(self) -> None:
        """Each caller has a function of its own, so that nobody deletes another's."""
        for name in self._functions:
            self._create(name)

    def clear(self) -> None:
        for name in self._functions:
            with contextlib.suppress(self._client.exceptions.ResourceNotFoundException):
                self._client.delete_function(FunctionName=name)

    def forget(self) -> None:
        """What was made until now was to get ready."""
        self.made.clear()
        self.refused.clear()

    def run(self, count: int, *, workers: bool = True) -> None:
        """Try so many faults, by several at once. workers: kill whole workers too."""
        kinds: list[tuple[Fault, int, str]] = [
            *((self._failing(kind), 1 if kind in ("hang", "grow") else 3, kind) for kind in FAILING),
            (self._call, 12, "call"),
            (self._go_away, 3, "caller goes away"),
            (self._kill_runtime, 6, "kill a runtime"),
            (self._kill_init, 4, "kill an init"),
            (self._kill_zygote, 1, "kill a zygote"),
            (self._kill_helper, 1, "kill what keeps networks"),
            (self._update_code, 3, "update code"),
            (self._update_configuration, 2, "update configuration"),
            (self._replace, 2, "delete and create"),
            (self._send_event, 3, "event"),
        ]
        chosen = self._random.choices(kinds, [weight for _, weight, _ in kinds], k=count)
        if workers:
            for at in range(FAULTS_A_WORKER // 2, count, FAULTS_A_WORKER):
                chosen[at] = (self._kill_worker, 1, "kill the worker")
        functions = self._functions
        with ThreadPoolExecutor(CALLERS) as pool:
            for caller in range(CALLERS):
                pool.submit(self._do, chosen[caller::CALLERS], functions[caller])

    def _do(self, chosen: list[tuple[Fault, int, str]], function: str) -> None:
        for make, _weight, name in chosen:
            try:
                done = make(function) or name
                with self._lock:
                    self.made[done] += 1
            except ClientError as error:
                with self._lock:
                    self.refused[f"{name}: {error.response['Error']['Code']}"] += 1
            except (BotoCoreError, psutil.Error, NobodyThereError) as error:
                with self._lock:
                    self.refused[f"{name}: {type(error).__name__}"] += 1
            except Exception as error:
                self.wrong.append(f"{name}: {error!r}")

    # What functions do

    def _invoke(self, function: str, kind: str, client: Any = None) -> tuple[int, dict[str, Any], Any]:
        with self._lock:
            self._number += 1
            number = self._number
        payload = json.dumps({"kind": kind, "n": number})
        reply = (client or self._client).invoke(FunctionName=function, Payload=payload)
        return number, reply, json.loads(reply["Payload"].read())

    def _failing(self, kind: str) -> Fault:
        def fail(function: str) -> None:
            number, reply, result = self._invoke(function, kind)
            self._check(kind, number, reply, result)

        return fail

    def _call(self, function: str) -> None:
        number, reply, result = self._invoke(function, "call")
        self._check("call", number, reply, result)

    def _check(self, kind: str, number: int, reply: dict[str, Any], result: Any) -> None:
        if "FunctionError" not in reply:
            if kind in ("raise", "exit", "crash", "hang", "grow") or result["n"] != number:
                self.wrong.append(f"{kind} {number}: {result}")
        elif "errorType" not in result:
            self.wrong.append(f"{kind} {number}: {result}")

    def call_until_right(self) -> None:
        """Every function answers again, without anybody's help."""
        for function in self._functions:
            wait_until(lambda name=function: self._is_right(name), deadline_s=30, what=f"{function} answers")

    def _is_right(self, function: str) -> bool:
        try:
            number, reply, result = self._invoke(function, "call")
        except ClientError:
            return False
        return "FunctionError" not in reply and bool(result["n"] == number)

    def _go_away(self, function: str) -> None:
        """In the middle of an answer that takes its time."""
        session = self._client.meta
        import boto3
        from botocore.config import Config

        credentials = self._client._request_signer._credentials
        impatient = boto3.client(
            "lambda",
            endpoint_url=session.endpoint_url,
            region_name=session.region_name,
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=0.05),
        )
        with contextlib.suppress(BotoCoreError):
            self._invoke(function, "hang", impatient)
        impatient.close()

    def _send_event(self, function: str) -> None:
        self._client.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps({"kind": "call", "n": 0}))

    # What is killed

    def _kill(self, of: Callable[[Processes], list[psutil.Process]]) -> None:
        with self._killing:
            processes = Processes(self._census.worker_pid())
            self._census.remember(processes)
            found = of(processes)
            if not found:
                raise NobodyThereError
            try:
                os.kill(self._random.choice(found).pid, signal.SIGKILL)
            except ProcessLookupError as error:
                raise NobodyThereError from error

    def _kill_runtime(self, function: str) -> None:
        self._kill(lambda processes: processes.runtimes)

    def _kill_init(self, function: str) -> None:
        self._kill(lambda processes: processes.inits)

    def _kill_zygote(self, function: str) -> None:
        self._kill(lambda processes: processes.zygotes)

    def _kill_helper(self, function: str) -> None:
        self._kill(lambda processes: [each for each in processes.helpers if each not in processes.zygotes])

    def _kill_worker(self, function: str) -> str | None:
        with self._lock:
            too_soon = time.monotonic() - self._worker_killed_at < BETWEEN_WORKERS_S
            if not too_soon:
                self._worker_killed_at = time.monotonic()
        if too_soon:
            self._kill_zygote(function)
            return "kill a zygote"
        self._kill(lambda processes: [processes.worker])
        return None

    # What is changed

    def _create(self, name: str) -> None:
        self._client.create_function(
            FunctionName=name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Timeout=1,
            MemorySize=256,
            Code={"ZipFile": _package(0)},
        )
        self._client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
        self._client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    def _update_code(self, function: str) -> None:
        self._client.update_function_code(FunctionName=function, ZipFile=_package(self._random.randrange(4)))

    def _update_configuration(self, function: str) -> None:
        self._client.update_function_configuration(FunctionName=function, MemorySize=self._random.randrange(200, 300))

    def _replace(self, function: str) -> None:
        with contextlib.suppress(self._client.exceptions.ResourceNotFoundException):
            self._client.delete_function(FunctionName=function)
        self._create(function)


def _package(generation: int) -> bytes:
    return zip_of({"app.py": SOURCE.replace("GENERATION", str(generation))})
