"""One AWS service as boto3 calls it, in a protocol of choice, with the answer as it came over the wire."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import ResponseParserFactory

from shared.aws import query_names

CALL_S = 60.0
OTHER_MODEL = {"json": "1.0"}


@dataclass(frozen=True)
class Answer:
    """protocol: that in which it is. operation: whose members it has."""

    status: int
    headers: Mapping[str, str]
    raw: bytes
    protocol: str
    operation: OperationModel

    @property
    def failed(self) -> bool:
        return self.status >= 300

    @cached_property
    def body(self) -> Any:
        """The members of the answer, None for nothing at all. Of an error in XML: the members of its element Error."""
        if not self.raw:
            return None
        if "json" in self.protocol:
            return json.loads(self.raw)
        if self.failed:
            return self._error_element()
        factory = ResponseParserFactory()
        factory.set_parser_defaults(timestamp_parser=str)
        given = {"status_code": self.status, "headers": dict(self.headers), "body": self.raw}
        parsed = factory.create_parser(self.protocol).parse(given, self.operation.output_shape)
        return {name: value for name, value in parsed.items() if name != "ResponseMetadata"}

    @cached_property
    def error(self) -> str | None:
        """The code, as the protocol tells it."""
        if not self.failed:
            return None
        told = self.headers.get("x-amzn-errortype")
        if told is not None:
            return told
        if "json" in self.protocol:
            return str((self.body or {}).get("__type", "")).rpartition("#")[2]
        return str(self._error_element().get("Code"))

    def _error_element(self) -> dict[str, str]:
        error = next(item for item in ET.fromstring(self.raw).iter() if _plain(item.tag) == "Error")
        return {_plain(item.tag): item.text or "" for item in error}


class Wire:
    """service: its name in botocore. It sends what the model forbids, too, and everything once."""

    def __init__(
        self, service: str, protocol: str, *, endpoint: str, region: str, key: str, secret: str, token: str | None = None
    ) -> None:
        session = botocore.session.get_session()
        session.register_component("data_loader", _OneProtocol(session.get_component("data_loader"), protocol))
        self.protocol = protocol
        self.client = boto3.session.Session(botocore_session=session).client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(
                retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=CALL_S, connect_timeout=5
            ),
        )
        self.model: ServiceModel = self.client.meta.service_model
        self.client.meta.events.register("before-parse", self._received)
        self.client.meta.events.register("before-call", self._sending)
        self._answer: Answer | None = None
        self._headers: dict[str, str] = {}

    def call(self, operation: str, request: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """The answer of any operation by its name in the service model."""
        self._answer, self._headers = None, dict(headers or {})
        try:
            self.client._make_api_call(operation, dict(request))
        except ClientError:
            assert self._answer is not None
            assert self._answer.failed
        assert self._answer is not None
        return self._answer

    def _sending(self, params: dict[str, Any], **kwargs: Any) -> None:
        params["headers"] |= self._headers

    def _received(self, response_dict: dict[str, Any], operation_model: OperationModel, **kwargs: Any) -> None:
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        body: bytes = response_dict["body"]
        self._answer = Answer(response_dict["status_code"], headers, body, self.protocol, operation_model)


class _OneProtocol:
    """A loader of models that lists one protocol alone: clients then speak that."""

    def __init__(self, loader: Loader, protocol: str) -> None:
        self._loader = loader
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_service_model(self, service: str, type_name: str, api_version: str | None = None) -> Any:
        model = self._loader.load_service_model(service, type_name, api_version)
        if type_name != "service-2" or self._protocol in (model["metadata"]["protocol"],):
            return model
        model = copy.deepcopy(model)
        model["metadata"] |= {"protocol": self._protocol, "protocols": [self._protocol]}
        if self._protocol == "query":
            _as_before(model, query_names.of(service))
        elif self._protocol == "json":
            model["metadata"].setdefault("jsonVersion", OTHER_MODEL["json"])
        return model


def _as_before(model: dict[str, Any], names: query_names.QueryNames) -> None:
    """What a model has forgotten of the query protocol, as its older clients have it."""
    model["metadata"].setdefault("xmlNamespace", names.namespace)
    shapes = model["shapes"]
    for name, (key, element) in names.elements.items():
        shape = shapes.get(name)
        if shape is None:
            continue
        if shape["type"] == "list":
            shape["member"]["locationName"] = element
        else:
            shape["key"]["locationName"], shape["value"]["locationName"] = key, element
    for shape in shapes.values():
        for member in shape.get("members", {}).values():
            if member["shape"] in names.members:
                member["locationName"] = names.members[member["shape"]]
    for operation, described in model["operations"].items():
        if "output" in described:
            described["output"].setdefault("resultWrapper", f"{operation}Result")


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]
