"""botocore's descriptions of AWS's services as frozen records: operations, shapes, and all that says how they look on the wire.

Only the data files are read; botocore itself is not imported, and its documentation texts are skipped on the way. A service's
file is read when the service is first asked for, an operation's shapes when the operation is.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import gzip
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from shared.aws import query_names
from shared.domain.errors import ConfigurationError

T = TypeVar("T")


class Kind(enum.StrEnum):
    STRUCTURE = "structure"
    LIST = "list"
    MAP = "map"
    STRING = "string"
    CHARACTER = "character"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    BLOB = "blob"
    TIMESTAMP = "timestamp"


class Location(enum.StrEnum):
    """HEADERS: every header that begins with the member's wire name, as a map."""

    BODY = "body"
    URI = "uri"
    QUERY = "querystring"
    HEADER = "header"
    HEADERS = "headers"
    STATUS = "statusCode"


@dataclasses.dataclass(frozen=True, slots=True)
class Namespace:
    """Of XML. prefix: None for the default namespace."""

    uri: str
    prefix: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure. wire_name: its name in the query, the headers, the path template or the body.

    query_name: what the query protocols call it; ec2 in requests only. flattened: a list or map without an element of its own
    around it. attribute: written as an XML attribute. json_text: a header that holds base64 of JSON. token: made up by clients
    that are not given one. host_label: part of the host name.
    """

    name: str
    wire_name: str
    location: Location
    shape: Shape
    query_name: str = ""
    flattened: bool = False
    attribute: bool = False
    namespace: Namespace | None = None
    json_text: bool = False
    token: bool = False
    host_label: bool = False


@dataclasses.dataclass(slots=True)
class Shape:
    """One shape. minimum, maximum: value of numbers, length of all else. element: of lists and (values) of maps.

    body: those of the members that are in the body. payload: the member that is the whole body, if there is one. timestamp: the
    format, None for the protocol's own. element_name, key_name: what the elements, values and keys are called in XML and
    queries, None for the protocol's own. document: any JSON. union: exactly one member is set. events: an event stream.
    wire_name: as an XML document's root.
    """

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    sensitive: bool = False
    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    body: list[Member] = dataclasses.field(default_factory=list)
    required: tuple[str, ...] = ()
    payload: str | None = None
    element: Shape | None = None
    key: Shape | None = None
    timestamp: str | None = None
    element_name: str | None = None
    key_name: str | None = None
    flattened: bool = False
    document: bool = False
    union: bool = False
    events: bool = False
    namespace: Namespace | None = None
    wire_name: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """path: the template's segments, a label as its member's name in braces. query: parameters that select the operation.

    service: as botocore's folder is named. root_name, root_namespace: of the input as an XML document. host_prefix: what
    clients put before the host name, labels in braces. unsigned: clients send it without a signature.
    """

    name: str
    method: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    status: int
    input: Shape | None
    output: Shape | None
    service: str = "lambda"
    root_name: str | None = None
    root_namespace: Namespace | None = None
    host_prefix: str | None = None
    unsigned: bool = False
    deprecated: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorShape:
    """A modelled error. code: on the wire of the query protocols. status: None for the protocol's own (400, or 500 of a
    fault)."""

    shape: Shape
    code: str
    status: int | None
    fault: bool


@dataclasses.dataclass(frozen=True)
class ServiceModel:
    """protocols: the preferred one first. signing_name: in a signature's scope. target: what X-Amz-Target begins with.

    query_compatible: it once spoke the query protocol only, and tells that protocol's error codes besides its own. query_codes:
    those of errors that are not modelled. error_detail: whether errors of the query protocol have an empty element `Detail`.
    """

    name: str
    operations: Mapping[str, Operation]
    errors: Mapping[str, Shape]
    failures: Mapping[str, ErrorShape]
    protocols: tuple[str, ...]
    api_version: str
    endpoint_prefix: str
    signing_name: str
    global_endpoint: str | None
    target: str | None
    json_version: str
    namespace: str
    query_compatible: bool
    query_codes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    error_detail: bool = False


class _Reference(msgspec.Struct, frozen=True, rename="camel"):
    shape: str
    location_name: str | None = None
    location: str = "body"
    query_name: str | None = None
    flattened: bool = False
    xml_attribute: bool = False
    xml_namespace: str | Namespace | None = None
    timestamp_format: str | None = None
    jsonvalue: bool = False
    idempotency_token: bool = False
    host_label: bool = False


class _Failure(msgspec.Struct, frozen=True, rename="camel"):
    code: str | None = None
    http_status_code: int | None = None


class _Described(msgspec.Struct, frozen=True, rename="camel"):
    type: Kind
    members: dict[str, _Reference] = {}
    required: tuple[str, ...] = ()
    enum: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    sensitive: bool = False
    payload: str | None = None
    member: _Reference | None = None
    key: _Reference | None = None
    value: _Reference | None = None
    flattened: bool = False
    location_name: str | None = None
    xml_namespace: str | Namespace | None = None
    timestamp_format: str | None = None
    union: bool = False
    document: bool = False
    eventstream: bool = False
    exception: bool = False
    fault: bool = False
    error: _Failure = _Failure()


class _Http(msgspec.Struct, frozen=True, rename="camel"):
    request_uri: str = "/"
    method: str = "POST"
    response_code: int = 200


class _Root(msgspec.Struct, frozen=True, rename="camel"):
    shape: str
    location_name: str | None = None
    xml_namespace: str | Namespace | None = None


class _Endpoint(msgspec.Struct, frozen=True, rename="camel"):
    host_prefix: str | None = None


class _DescribedOperation(msgspec.Struct, frozen=True, rename="camel"):
    http: _Http = _Http()
    input: _Root | None = None
    output: _Root | None = None
    authtype: str = ""
    deprecated: bool = False
    endpoint: _Endpoint = _Endpoint()


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    api_version: str
    endpoint_prefix: str
    protocol: str
    protocols: tuple[str, ...] = ()
    signing_name: str | None = None
    global_endpoint: str | None = None
    target_prefix: str | None = None
    json_version: str = "1.0"
    xml_namespace: str | Namespace | None = None
    aws_query_compatible: dict[str, str] | None = None


class _Description(msgspec.Struct, frozen=True):
    metadata: _Metadata
    operations: dict[str, _DescribedOperation]
    shapes: dict[str, _Described]


_decode = msgspec.json.Decoder(_Description).decode


def bare_service_model(name: str) -> ServiceModel:
    """Of a service that botocore does not know: enough to render an error with."""
    return ServiceModel(
        name=name,
        operations={},
        errors={},
        failures={},
        protocols=("rest-json",),
        api_version="",
        endpoint_prefix=name,
        signing_name=name,
        global_endpoint=None,
        target=None,
        json_version="1.0",
        namespace="",
        query_compatible=False,
    )


def service_names() -> frozenset[str]:
    """All services that botocore has a description of, as its folders are named."""
    folders = data_folder().iterdir()
    return frozenset(folder.name for folder in folders if any(folder.glob("*/service-2.json*")))


@functools.cache
def load_service_model(service: str = "lambda") -> ServiceModel:
    """Read the newest model of a service that the installed botocore has. Raises ConfigurationError when there is none."""
    files = sorted(data_folder().glob(f"{service}/*/service-2.json*"))
    if not files:
        raise ConfigurationError(f"botocore's description of {service} was not found: reinstall the dependencies")
    raw = files[-1].read_bytes()
    return _Builder(service, _decode(gzip.decompress(raw) if files[-1].suffix == ".gz" else raw)).model()


def is_service(name: str) -> bool:
    """Whether botocore has a folder of this name."""
    return name.replace("-", "").isalnum() and (data_folder() / name).is_dir()


def data_folder() -> Path:
    """botocore's. Raises ConfigurationError."""
    spec = importlib.util.find_spec("botocore")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ConfigurationError("botocore's descriptions of AWS's services were not found: reinstall the dependencies")
    return Path(folders[0]) / "data"


class _Later(Mapping[str, T], Generic[T]):
    """Made when asked for, once."""

    def __init__(self, names: list[str], make: Callable[[str], T]) -> None:
        self._names = dict.fromkeys(names)
        self._make = make
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        found = self._made.get(name)
        if found is None:
            if name not in self._names:
                raise KeyError(name)
            found = self._made[name] = self._make(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Builder:
    def __init__(self, service: str, description: _Description) -> None:
        self._service = service
        self._description = description
        self._built: dict[str, Shape] = {}
        self._names = query_names.of(service)

    def model(self) -> ServiceModel:
        metadata = self._description.metadata
        failures = [name for name, shape in self._description.shapes.items() if shape.exception]
        namespace = _namespace(metadata.xml_namespace)
        protocols = (*(metadata.protocols or (metadata.protocol,)), *self._names.protocols)
        return ServiceModel(
            name=self._service,
            operations=_Later(list(self._description.operations), self._operation),
            errors=_Later(failures, self._shape),
            failures=_Later(failures, self._failure),
            # A protocol that came later is preferred by clients that know it, whatever the order in the file.
            protocols=tuple(dict.fromkeys((metadata.protocol, *protocols))),
            api_version=metadata.api_version,
            endpoint_prefix=metadata.endpoint_prefix,
            signing_name=metadata.signing_name or metadata.endpoint_prefix,
            global_endpoint=metadata.global_endpoint,
            target=metadata.target_prefix,
            json_version=metadata.json_version,
            namespace=self._names.namespace or (namespace.uri if namespace is not None else ""),
            query_compatible=metadata.aws_query_compatible is not None,
            query_codes=self._names.errors,
            error_detail=self._names.error_detail,
        )

    def _operation(self, name: str) -> Operation:
        described = self._description.operations[name]
        path, _, query = described.http.request_uri.partition("?")
        pairs = tuple((key, value) for key, _, value in (pair.partition("=") for pair in query.split("&") if pair))
        root = described.input
        return Operation(
            name=name,
            method=described.http.method,
            path=tuple(path.strip("/").split("/")),
            query=pairs,
            status=described.http.response_code,
            input=None if root is None else self._shape(root.shape),
            output=None if described.output is None else self._shape(described.output.shape),
            service=self._service,
            root_name=None if root is None else root.location_name,
            root_namespace=None if root is None else _namespace(root.xml_namespace),
            host_prefix=described.endpoint.host_prefix,
            unsigned=described.authtype == "none",
            deprecated=described.deprecated,
        )

    def _failure(self, name: str) -> ErrorShape:
        described = self._description.shapes[name]
        code = self._names.errors.get(name) or described.error.code or name
        return ErrorShape(self._shape(name), code, described.error.http_status_code, described.fault)

    def _shape(self, name: str) -> Shape:
        """Built before its members are, so that a shape may contain itself."""
        known = self._built.get(name)
        if known is not None:
            return known
        described = self._description.shapes[name]
        shape = self._built[name] = Shape(
            name=name,
            kind=described.type,
            minimum=described.min,
            maximum=described.max,
            pattern=described.pattern,
            choices=described.enum,
            sensitive=described.sensitive,
            required=described.required,
            payload=described.payload,
            timestamp=described.timestamp_format,
            flattened=described.flattened,
            document=described.document,
            union=described.union,
            events=described.eventstream,
            namespace=_namespace(described.xml_namespace),
            wire_name=described.location_name,
        )
        for member, reference in described.members.items():
            shape.members[member] = self._member(member, reference)
        shape.body += [member for member in shape.members.values() if member.location is Location.BODY]
        key_name, element_name = self._names.elements.get(name, (None, None))
        if described.member is not None:
            shape.element = self._referred(described.member)
            shape.element_name = described.member.location_name or shape.element.wire_name or element_name
        if described.key is not None and described.value is not None:
            shape.key, shape.element = self._referred(described.key), self._referred(described.value)
            shape.key_name = described.key.location_name or shape.key.wire_name or key_name
            shape.element_name = described.value.location_name or shape.element.wire_name or element_name
        return shape

    def _member(self, name: str, reference: _Reference) -> Member:
        shape = self._referred(reference)
        given = reference.location_name or shape.wire_name
        return Member(
            name=name,
            wire_name=given or name,
            location=Location(reference.location),
            shape=shape,
            query_name=self._query_name(name, given, reference),
            flattened=reference.flattened or shape.flattened,
            attribute=reference.xml_attribute,
            namespace=_namespace(reference.xml_namespace) or shape.namespace,
            json_text=reference.jsonvalue,
            token=reference.idempotency_token,
            host_label=reference.host_label,
        )

    def _query_name(self, name: str, given: str | None, reference: _Reference) -> str:
        if self._description.metadata.protocol == "ec2":
            return reference.query_name or (given[0].upper() + given[1:] if given else name)
        return self._names.members.get(reference.shape) or given or name

    def _referred(self, reference: _Reference) -> Shape:
        """A timestamp may be written in another format in one place than elsewhere."""
        shape = self._shape(reference.shape)
        if reference.timestamp_format is not None and reference.timestamp_format != shape.timestamp:
            return dataclasses.replace(shape, timestamp=reference.timestamp_format)
        return shape


def _namespace(given: str | Namespace | None) -> Namespace | None:
    return Namespace(given) if isinstance(given, str) else given
