"""Of every service beside Lambda, in every protocol that it speaks: whatever is asked, the answer is one that AWS could give."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Callable

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import create_parser
from botocore.session import get_session
from hypothesis import HealthCheck, Phase, given, settings

from tests.conformance.control_plane import KEY, REGION, SECRET, ControlPlane
from tests.conformance.in_process import Answer
from tests.conformance.made_up import MadeUp, WireRequest
from tests.conformance.runner import Runner
from tests.conformance.services.catalogue import CATALOGUE
from tests.conformance.services.service import Service
from tests.conformance.vocabularies import WORDS, Words

EXAMPLES_PER_OPERATION = 8
ANSWER_S = 20.0
SPOKEN = ("rest-json", "json", "query")
CASES = [
    pytest.param(service, protocol, operation, id=f"{service.name}-{protocol}-{operation}")
    for service in CATALOGUE
    if service.name != "management"
    for protocol in service.protocols
    if protocol in SPOKEN
    for operation in sorted(service.operations())
]


class Door:
    """Signed requests to a running endpoint, and whether their answers are right."""

    def __init__(self, plane: ControlPlane, service: Service, protocol: str) -> None:
        self._port = int(plane.endpoint.rpartition(":")[2])
        self._service, self._protocol = service, protocol
        self._model = get_session().get_service_model(service.botocore)
        self._parser = create_parser(protocol)

    def send(self, request: WireRequest) -> Answer:
        target = request.path + (f"?{request.query}" if request.query else "")
        url = f"http://127.0.0.1:{self._port}{target}"
        signed = AWSRequest(request.method, url, data=request.body, headers=request.headers)
        SigV4Auth(Credentials(KEY, SECRET), self._service.model.signing_name, REGION).add_auth(signed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request(request.method, target, request.body, dict(signed.headers.items()))
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        finally:
            connection.close()

    def check(self, request: WireRequest) -> None:
        answer = self.send(request)
        shown = f"{request} -> {answer.status} {answer.body[:500]!r}"
        assert answer.status < 500, shown
        shape = self._model.operation_model(request.operation).output_shape
        parsed = self._parser.parse({"status_code": answer.status, "headers": answer.headers, "body": answer.body}, shape)
        if answer.status >= 300:
            assert parsed["Error"]["Code"], shown
        assert parsed["ResponseMetadata"]["HTTPStatusCode"] == answer.status, shown


@pytest.mark.parametrize(("service", "protocol", "operation"), CASES)
def test_no_request_makes_a_500(
    control_plane: ControlPlane, runner: Callable[[Service], Runner], service: Service, protocol: str, operation: str
) -> None:
    words = WORDS.get(service.name, Words())
    made = MadeUp(service.model, words.vocabulary)
    door = Door(control_plane, service, protocol)
    for name, request in words.first:
        runner(service).call(name, request)
    asked = itertools.count()

    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(made.requests(service.model.operations[operation], protocol))
    def each(request: WireRequest) -> None:
        next(asked)
        door.check(request)

    each()
    assert next(asked) > 1
