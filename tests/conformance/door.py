"""Made-up requests to a running endpoint, signed, and whether an answer is one that AWS could give."""

from __future__ import annotations

import http.client
import json
import xml.etree.ElementTree as ET
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.parsers import create_parser
from botocore.session import get_session

from shared.aws.routing import Router, parse_query
from shared.aws.service_model import load_service_model
from shared.aws.signatures.canonical import normal_path
from tests.conformance.made_up import WireRequest
from tests.conformance.services.service import REGION
from tests.conformance.wire import Answer

ANSWER_S = 20.0
"""Longer than any request takes: what takes longer hangs."""


class Door:
    """One service in one of its protocols. served: its operations that are there; what else its model has is answered with 501."""

    def __init__(self, endpoint: str, key: str, secret: str, service: str, protocol: str, served: frozenset[str]) -> None:
        self._port = int(endpoint.rpartition(":")[2])
        self._credentials = Credentials(key, secret)
        self._protocol, self._served = protocol, served
        self._ours, self._model = load_service_model(service), get_session().get_service_model(service)
        self._parser = create_parser(protocol)
        self._router = Router(self._ours.operations.values()) if protocol == "rest-json" else None

    def send(self, request: WireRequest) -> Answer:
        """Raises TimeoutError when there is no answer in time."""
        target = request.path + (f"?{request.query}" if request.query else "")
        url = f"http://127.0.0.1:{self._port}{target}"
        signed = AWSRequest(request.method, url, data=request.body, headers=request.headers)
        SigV4Auth(self._credentials, self._ours.signing_name, REGION).add_auth(signed)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
        try:
            connection.request(request.method, target, request.body, dict(signed.headers.items()))
            found = connection.getresponse()
            headers = {name.lower(): value for name, value in found.getheaders()}
            return Answer(
                found.status, headers, found.read(), self._protocol, self._model.operation_model(self._asked(request))
            )
        finally:
            connection.close()

    def check(self, request: WireRequest) -> None:
        """Raises AssertionError for what AWS could not answer."""
        answer = self.send(request)
        try:
            if answer.status != 501 or answer.operation.name in self._served:
                assert answer.status < 500
                if request.method != "HEAD":
                    self._check_error(answer) if answer.failed else self._check_reply(answer)
        except Exception as wrong:
            raise AssertionError(f"{request} -> {answer.status} {answer.raw[:500]!r}: {wrong!r}") from wrong

    def _asked(self, request: WireRequest) -> str:
        """An empty or dotted name in a path makes it another operation's."""
        route = None
        if self._router is not None:
            route = self._router.route(request.method, normal_path(request.path.encode()).decode(), parse_query(request.query))
        return request.operation if route is None else route.operation.name

    def _check_error(self, answer: Answer) -> None:
        assert answer.error
        if self._protocol == "query":
            root = ET.fromstring(answer.raw)
            assert _plain(root) == "ErrorResponse"
            assert {_plain(part) for part in root} >= {"Error", "RequestId"}
            error = next(part for part in root if _plain(part) == "Error")
            assert {"Type", "Code", "Message"} <= {_plain(part) for part in error} <= {"Type", "Code", "Message", "Detail"}
            return
        assert len(answer.headers["x-amzn-requestid"]) == 36
        body = json.loads(answer.raw)
        assert isinstance(body, dict)
        if self._protocol == "json":
            assert {"__type"} <= set(body) <= {"__type", "message", "Message"}
        else:
            assert answer.headers["content-type"] == "application/json"
            assert "x-amzn-errortype" in answer.headers
            assert ("message" in body) != ("Message" in body)
            assert body.get("Type") in (None, "User")

    def _check_reply(self, answer: Answer) -> None:
        """What botocore can read, every member of the kind that the model says, and none that it does not know."""
        described = answer.operation
        shape = described.output_shape
        if shape is None or described.has_streaming_output or described.has_event_stream_output:
            return
        parsed = self._parser.parse({"status_code": answer.status, "headers": answer.headers, "body": answer.raw}, shape)
        assert parsed["ResponseMetadata"]["HTTPStatusCode"] == answer.status
        if self._protocol == "query":
            assert _plain(ET.fromstring(answer.raw)) == f"{described.name}Response"
        elif answer.raw:
            known = {member.serialization.get("name", name) for name, member in shape.members.items()}
            assert set(json.loads(answer.raw)) <= known


def _plain(element: ET.Element[Any]) -> str:
    return str(element.tag).rpartition("}")[2]
