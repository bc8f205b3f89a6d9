"""Runs one entry against a control plane: the calls of what is given, then the one that was recorded, compared on the wire."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tests.conformance.control_plane import ControlPlane
from tests.conformance.facts import UNRECORDED, Fact
from tests.conformance.given import S3_OBJECT, Step, script_of
from tests.conformance.values import Values

SETTLE_S = 20.0
POLL_S = 0.01
PAGES_MAX = 100
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


@dataclass(frozen=True)
class Answer:
    """As it came over the wire. error: the code that the header x-amzn-errortype names."""

    status: int
    error: str | None
    raw: bytes

    def json(self) -> Any:
        return json.loads(self.raw) if self.raw else None


class GivenError(Exception):
    """What is given could not be made: its call was refused."""


class Runner:
    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._client = plane.client()
        self._client.meta.events.register("before-parse.lambda", self._received)
        self._answer = Answer(0, None, b"")

    def differences(self, fact: Fact) -> list[str]:
        """Where the answer is not the recorded one; empty when it is."""
        if fact.call in OF_THE_ACCOUNT:
            self._plane.empty_account()
        values, script = Values(fact), script_of(fact)
        try:
            for number, step in enumerate(script.steps):
                last = number == len(script.steps) - 1
                self._plane.hold(last and fact.id in WHILE_IN_PROGRESS)
                self._step(values, step)
            return self._compare(fact, values)
        except GivenError as error:
            return [f"given: {error}"]
        finally:
            self._plane.hold(False)

    def _step(self, values: Values, step: Step) -> None:
        if step.operation == S3_OBJECT:
            self._plane.put_object(**values.fill(step.request))
            return
        request = values.fill(step.request)
        deadline = time.monotonic() + SETTLE_S
        while True:
            answer = self.call(step.operation, request)
            reply = answer.json()
            if step.leaves is None or answer.error is not None or reply.get(step.leaves[0]) != step.leaves[1]:
                break
            if time.monotonic() > deadline:
                raise GivenError(f"{step.operation}: {step.leaves[0]} stayed {step.leaves[1]}")
            time.sleep(POLL_S)
        if (answer.error is not None) != step.refused:
            raise GivenError(f"{step.operation} answered {answer.status} {answer.error} {answer.raw[:300]!r}")
        for path, placeholder in step.takes.items():
            values.take(reply, path, placeholder)
        if step.operation in CHANGES and not step.refused:
            self._settled(request["FunctionName"], reply)

    def _settled(self, name: str, reply: Mapping[str, Any]) -> None:
        """What SDKs' waiters wait for, of `$LATEST` and of the version that was published."""
        published = [] if reply["Version"] == "$LATEST" else [reply["Version"]]
        for qualifier in ["$LATEST", *published]:
            deadline = time.monotonic() + SETTLE_S
            while not self._plane.held:
                found = self.call("GetFunctionConfiguration", {"FunctionName": name, "Qualifier": qualifier}).json()
                if found["State"] == "Active" and found.get("LastUpdateStatus") != "InProgress":
                    break
                if found["State"] == "Failed" or time.monotonic() > deadline:
                    raise GivenError(f"{name}:{qualifier} did not become active: {found}")
                time.sleep(POLL_S)

    def _compare(self, fact: Fact, values: Values) -> list[str]:
        request = values.fill(fact.request)
        answer = self.call(fact.call, request)
        if (answer.status, answer.error) != (fact.status, fact.error):
            wanted = f"{fact.status} {fact.error or ''}".strip()
            return [f"{answer.status} {answer.error or ''} {answer.raw[:300]!r} instead of {wanted}"]
        if fact.body == UNRECORDED:
            return []
        if fact.body is None:
            return [] if answer.raw == b"" else [f"body {answer.raw[:300]!r} instead of an empty one"]
        body = answer.json()
        if fact.error in OUTSIDE_THE_MODEL:
            body = {"message": body.get("message", body.get("Message"))}
        elif fact.call in LISTS and "pages joined" in fact.note.lower():
            body = self._joined(fact.call, request, body)
        return values.differences(fact.body, body, unordered="order not asserted" in fact.note.lower())

    def _joined(self, call: str, request: dict[str, Any], page: dict[str, Any]) -> dict[str, Any]:
        key, items = LISTS[call], []
        for _ in range(PAGES_MAX):
            items += page[key]
            if page.get("NextMarker") is None:
                return {**page, key: items}
            page = self.call(call, {**request, "Marker": page["NextMarker"]}).json()
        raise AssertionError(f"{call}: more than {PAGES_MAX} pages")

    def call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        """The answer of any operation by its name in the service model."""
        self._answer = Answer(0, None, b"")
        try:
            self._client._make_api_call(operation, dict(request))
        except ClientError:
            assert self._answer.status >= 300
        return self._answer

    def _received(self, response_dict: dict[str, Any], **kwargs: Any) -> None:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        error = headers.get("x-amzn-errortype")
        self._answer = Answer(response_dict["status_code"], error, response_dict["body"])
