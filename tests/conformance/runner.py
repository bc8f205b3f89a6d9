"""Runs one entry over HTTP: the calls of what is given, then the one that was recorded, compared on the wire."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from shared.aws.service_model import load_service_model
from tests.conformance.control_plane import ControlPlane
from tests.conformance.facts import UNRECORDED, Fact
from tests.conformance.services.service import REGION, Service
from tests.conformance.steps import GivenError, Step
from tests.conformance.wire import Answer, Wire

SETTLE_S = 20.0
POLL_S = 0.01


class Runner:
    """One service's entries against a control plane."""

    def __init__(self, plane: ControlPlane, service: Service) -> None:
        self.plane = plane
        self.service = service
        self._wires: dict[tuple[str, str, str], Wire] = {}

    def differences(self, fact: Fact) -> list[str]:
        """Where the answers are not the recorded one, in any protocol; empty when they are."""
        protocols = self.service.protocols if fact.protocol is None else (fact.protocol,)
        return [f"{protocol}: {text}" for protocol in protocols for text in Run(self, fact, protocol).differences()]

    def wire(self, protocol: str | None = None, service: str | None = None, region: str | None = None) -> Wire:
        """A client of this service (of another: in that one's own first protocol), kept."""
        name = service or self.service.botocore
        if protocol is None:
            protocol = self.service.protocols[0]
        key = (name, protocol, region or REGION)
        if key not in self._wires:
            self._wires[key] = self.plane.wire(*key)
        return self._wires[key]

    def call(self, operation: str, request: Mapping[str, Any]) -> Answer:
        return self.wire().call(operation, request)


class Run:
    """One entry in one protocol."""

    def __init__(self, runner: Runner, fact: Fact, protocol: str) -> None:
        self.runner = runner
        self.plane = runner.plane
        self.service = runner.service
        self.fact = fact
        self.protocol = protocol
        self.values = runner.service.values(fact)

    def differences(self) -> list[str]:
        steps = self.service.steps(self.fact)
        try:
            self.service.begin(self)
            for number, step in enumerate(steps):
                self.service.perform(self, step, last=number == len(steps) - 1)
            return self._compare()
        except GivenError as error:
            return [f"given: {error}"]
        finally:
            self.service.end(self)

    def call(
        self,
        operation: str,
        request: Mapping[str, Any],
        service: str | None = None,
        region: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """service: another one, by its name in botocore; it is called in its own protocol."""
        protocol = self.protocol if service in (None, self.service.botocore) else load_service_model(str(service)).protocols[0]
        return self.runner.wire(protocol, service, region).call(operation, request, headers)

    def make(self, step: Step) -> Answer:
        """Raises GivenError."""
        request = self.values.fill(step.request)
        deadline = time.monotonic() + SETTLE_S
        while True:
            answer = self.call(step.operation, request, step.service, step.region, step.headers)
            if step.until is None or answer.failed or step.until(answer.body):
                break
            if time.monotonic() > deadline:
                raise GivenError(f"{step.operation}: what is waited for did not become so: {answer.raw[:300]!r}")
            time.sleep(POLL_S)
        if answer.failed != step.refused:
            raise GivenError(f"{step.operation} answered {answer.status} {answer.error} {answer.raw[:300]!r}")
        for path, placeholder in step.takes.items():
            self.values.take(answer.body, path, placeholder)
        if step.returns is not None and (texts := self.values.differences(step.returns, answer.body)):
            raise GivenError(f"{step.operation} answered {texts}")
        return answer

    def _compare(self) -> list[str]:
        fact, service = self.fact, self.service
        assert fact.call is not None
        # `iam CreateRole`: one of another service.
        other, _, operation = fact.call.rpartition(" ")
        request = self.values.fill(service.request(fact))
        answer = self.call(operation, request, other or None)
        status, error = fact.status or answer.status, service.error(answer)
        if (answer.status, error) != (status, fact.error):
            wanted = f"{status} {fact.error or ''}".strip()
            return [f"{answer.status} {error or ''} {answer.raw[:300]!r} instead of {wanted}"]
        if fact.body == UNRECORDED:
            return service.more(self, request, answer)
        if fact.body is None:
            return [] if answer.raw == b"" else [f"body {answer.raw[:300]!r} instead of an empty one"]
        found, expected = service.found(self, request, answer), service.expected(fact, answer)
        found_wrong = self.values.differences(expected, found, unordered=service.unordered(fact))
        return found_wrong or service.more(self, request, answer)
