"""Lambda: functions become active after a call, some answers depend on the whole account, and package code is in an object store."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

from services.frontend.apis.lambda_.operations import OPERATIONS
from tests.conformance.facts import Fact
from tests.conformance.runner import POLL_S, SETTLE_S, Run
from tests.conformance.services.lambda_.script import S3_OBJECT
from tests.conformance.services.lambda_.sentences import script_of
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION, Service
from tests.conformance.steps import GivenError, Step
from tests.conformance.values import Values
from tests.conformance.wire import Answer
from tests.support import ROLE, zip_of

CONCURRENCY_LIMIT, UNRESERVED_MIN = 1_000, 100
FUNCTIONS = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
ZIP = zip_of({"index.py": "def handler(event, context):\n    return event\n"})
OTHER_ZIP = zip_of({"index.py": "def handler(event, context):\n    return 'other'\n"})
ZIP_BYTES_MAX = 52_428_800
PAGES_MAX = 100
INVOCATIONS = {"Invoke", "InvokeAsync", "InvokeWithResponseStream"}
"""Operations of the invoke path, which is not the control plane's."""
CHANGES = {"CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion"}
WHILE_IN_PROGRESS = {
    "get-function.update-in-progress",
    "get-function.version-pending",
    "get-function.qualifier-latest",
    "update-function-code.update-in-progress",
    "update-function-configuration.update-in-progress",
}
"""These look at what the last of the given calls changed, before it is done."""
OF_THE_ACCOUNT = (
    "ListFunctions", "GetAccountSettings", "PutFunctionConcurrency", "ListCodeSigningConfigs", "ListLayers",
    "PutProvisionedConcurrencyConfig",
)  # fmt: skip
"""Whose answer depends on everything that the account has."""
OUTSIDE_THE_MODEL = {"ValidationException", "AccessDeniedException", "RequestEntityTooLargeException"}
"""Of these only status, code and text were recorded."""
LISTS = {"ListFunctions": "Functions", "ListAliases": "Aliases"}
CHOICES = {"<the other one>": "<one of the two>", "<the other config>": "<one of the two configs>"}
"""An item of a second page, and what its first page had."""


class LambdaValues(Values):
    def computed(self, text: str) -> Any:
        if match := re.fullmatch(r"<(?:the )?(\d+) tags>", text):
            return {f"{number:02}_key": f"{number:02}_value" for number in range(int(match[1]))}
        if match := re.fullmatch(r"<(limit|before) \+ (\w+)>", text):
            return self.known[match[1]] + (int(match[2]) if match[2].isdigit() else self.known[match[2]])
        if match := re.fullmatch(r"<zip of (at least )?(\d+) bytes>", text):
            return bytes(int(match[2])) if match[1] else zip_sized(int(match[2]))
        if match := re.fullmatch(r"<zip that unpacks to (\d+) bytes>", text):
            return zip_of({"index.py": bytes(int(match[1]))})
        if text == "<six layer version ARNs>":
            return [f"{FUNCTIONS}:layer:{self.known['layer']}-{number}:1" for number in range(6)]
        if text == "<18.8 MB of text>":
            return "x" * 18_800_000
        return None

    def alike(self, expected: str, found: Any) -> bool | None:
        if expected in CHOICES:
            return bool(found != self.known[CHOICES[expected].strip("<>")])
        return isinstance(found, dict) if expected in CHOICES.values() else None


class Lambda(Service):
    name, title, botocore, protocols = "management", "Lambda", "lambda", ("rest-json",)
    forms: Mapping[str, str | None] = {
        "function-url": r"https?://[a-z0-9]+\.lambda-url\.\S+/",
        "esm-arn": rf"{FUNCTIONS}:event-source-mapping:[0-9a-f-]{{36}}",
        "csc-arn": rf"{FUNCTIONS}:code-signing-config:csc-[a-z0-9]{{17}}",
        "csc": r"csc-[a-z0-9]{17}",
    }
    every_time_another = ("function-url",)

    def operations(self) -> Set[str]:
        return OPERATIONS.keys() | INVOCATIONS

    values_class = LambdaValues

    def steps(self, fact: Fact) -> Sequence[Step]:
        return script_of(fact).steps

    def begin(self, run: Run) -> None:
        if run.fact.call in OF_THE_ACCOUNT:
            run.plane.empty_account()

    def perform(self, run: Run, step: Step, last: bool) -> None:
        run.plane.hold(last and run.fact.id in WHILE_IN_PROGRESS)
        if step.operation == S3_OBJECT:
            run.plane.put_object(**run.values.fill(step.request))
            return
        answer = run.make(step)
        if step.operation in CHANGES and not step.refused:
            settled(run, run.values.fill(step.request)["FunctionName"], answer.body)

    def end(self, run: Run) -> None:
        run.plane.hold(False)

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        fact = run.fact
        if fact.error in OUTSIDE_THE_MODEL:
            return {"message": answer.body.get("message", answer.body.get("Message"))}
        if fact.call in LISTS and "pages joined" in fact.note.lower():
            return joined(run, request, answer.body)
        return answer.body

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        name = f"f-{uuid.uuid4().hex[:10]}"
        if fact.id.endswith("arn-141-characters"):
            name = "a" * (141 - len(f"{FUNCTIONS}:function:"))
        layer = f"l-{uuid.uuid4().hex[:10]}"
        images = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        stream = (
            "kinesis:{}:{}:stream/stream" if "Kinesis" in fact.told else "dynamodb:{}:{}:table/t/stream/2026-01-01T00:00:00.000"
        )
        known: dict[str, Any] = {
            "fn": name,
            "fn:2": f"{name}-2",
            "fn-arn": f"{FUNCTIONS}:function:{name}",
            "fn-arn:2": f"{FUNCTIONS}:function:{name}-2",
            "role-arn": ROLE,
            # The entry is about a request that is too large although its package alone is not.
            "zip": bytes(ZIP_BYTES_MAX - 1) if "18.8 MB" in str(fact.request) else ZIP,
            "zip:2": OTHER_ZIP,
            "zip:3": zip_of({"third": "x"}),
            "alias": "alias1",
            "missing": "missing",
            "runtime": "nodejs14.x",
            "subnet": "subnet-0123",
            "subnet:2": "subnet-4567",
            "sg": "sg-0123",
            "sg:2": "sg-4567",
            "bad-subnet": "bad_subnet",
            "bad-sg": "bad_sg",
            "value": "value",
            "name": "name",
            "bucket": f"bucket-{layer}",
            "key": "some/key.zip",
            "layer": layer,
            "layer-arn": f"{FUNCTIONS}:layer:{layer}",
            "arn": f"arn:aws:lambda:{OTHER_REGION}:{ACCOUNT}:layer:l:1",
            "missing-csc-arn": f"{FUNCTIONS}:code-signing-config:csc-{'0' * 17}",
            "stream-arn": "arn:aws:" + stream.format(REGION, ACCOUNT),
            "queue-arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            "repo": f"{images}/one",
            "repo:2": f"{images}/two",
            "user-arn": f"arn:aws:iam::{ACCOUNT}:user/someone",
            "limit": CONCURRENCY_LIMIT,
            "min-unreserved": UNRESERVED_MIN,
        }
        if "no mapping" in fact.told or "no such event source mapping" in fact.told:
            known["uuid"] = str(uuid.uuid4())
            known["esm-arn"] = f"{FUNCTIONS}:event-source-mapping:{known['uuid']}"
        return known


def settled(run: Run, name: str, reply: Mapping[str, Any]) -> None:
    """What SDKs' waiters wait for, of `$LATEST` and of the version that was published."""
    published = [] if reply["Version"] == "$LATEST" else [reply["Version"]]
    for qualifier in ["$LATEST", *published]:
        deadline = time.monotonic() + SETTLE_S
        while not run.plane.held:
            found = run.call("GetFunctionConfiguration", {"FunctionName": name, "Qualifier": qualifier}).body
            if found["State"] == "Active" and found.get("LastUpdateStatus") != "InProgress":
                break
            if found["State"] == "Failed" or time.monotonic() > deadline:
                raise GivenError(f"{name}:{qualifier} did not become active: {found}")
            time.sleep(POLL_S)


def joined(run: Run, request: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
    """All pages of a list as one."""
    call = str(run.fact.call)
    key, items = LISTS[call], []
    for _ in range(PAGES_MAX):
        items += page[key]
        if page.get("NextMarker") is None:
            return {**page, key: items}
        page = run.call(call, {**request, "Marker": page["NextMarker"]}).body
    raise AssertionError(f"{call}: more than {PAGES_MAX} pages")


def zip_sized(size_bytes: int) -> bytes:
    """A package of exactly so many bytes: the archive's comment fills it up."""
    archive = zip_of({"index.py": ""})
    comment = size_bytes - len(archive)
    assert comment >= 0
    return archive[:-2] + comment.to_bytes(2, "little") + b"x" * comment
