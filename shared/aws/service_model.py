"""botocore's description of the Lambda API as frozen records: every operation, every shape. Built once, by the frontend alone.

Only the data file is read; botocore itself is not imported, and its documentation texts are dropped on the way.
"""

from __future__ import annotations

import dataclasses
import enum
import gzip
import importlib.util
import re
from pathlib import Path
from typing import Any

import msgspec

from shared.domain.errors import ConfigurationError


class Kind(enum.StrEnum):
    STRUCTURE = "structure"
    LIST = "list"
    MAP = "map"
    STRING = "string"
    INTEGER = "integer"
    LONG = "long"
    DOUBLE = "double"
    BOOLEAN = "boolean"
    BLOB = "blob"
    TIMESTAMP = "timestamp"


class Location(enum.StrEnum):
    BODY = "body"
    URI = "uri"
    QUERY = "querystring"
    HEADER = "header"
    STATUS = "statusCode"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure. wire_name: its name in the query, the headers, the path template or the body."""

    name: str
    wire_name: str
    location: Location
    shape: Shape


@dataclasses.dataclass(slots=True)
class Shape:
    """One shape. minimum, maximum: value of numbers, length of all else. element: of lists and (values) of maps.

    payload: the member that is the whole body, if there is one.
    """

    name: str
    kind: Kind
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    sensitive: bool = False
    members: dict[str, Member] = dataclasses.field(default_factory=dict)
    required: tuple[str, ...] = ()
    payload: str | None = None
    element: Shape | None = None
    key: Shape | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """path: the template's segments, a label as its member's name in braces. query: parameters that select the operation."""

    name: str
    method: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    status: int
    input: Shape | None
    output: Shape | None


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceModel:
    operations: dict[str, Operation]
    errors: dict[str, Shape]


def load_service_model() -> ServiceModel:
    """Read the newest Lambda model that the installed botocore has. Raises ConfigurationError when there is none."""
    spec = importlib.util.find_spec("botocore")
    folders = spec.submodule_search_locations if spec is not None else None
    files = sorted(Path(folders[0]).glob("data/lambda/*/service-2.json*")) if folders else []
    if not files:
        raise ConfigurationError("botocore's description of Lambda was not found: reinstall the dependencies")
    raw = files[-1].read_bytes()
    if files[-1].suffix == ".gz":
        raw = gzip.decompress(raw)
    return build_service_model(msgspec.json.decode(raw))


def build_service_model(description: dict[str, Any]) -> ServiceModel:
    """Records from the parsed service-2 document."""
    builder = _Builder(description["shapes"])
    operations = {name: builder.operation(name, value) for name, value in description["operations"].items()}
    errors = {name: builder.shape(name) for name, value in description["shapes"].items() if value.get("exception")}
    return ServiceModel(operations, errors)


class _Builder:
    def __init__(self, described: dict[str, dict[str, Any]]) -> None:
        self._described = described
        self._built: dict[str, Shape] = {}

    def operation(self, name: str, described: dict[str, Any]) -> Operation:
        http = described["http"]
        path, _, query = http["requestUri"].partition("?")
        pairs = tuple((key, value) for key, _, value in (pair.partition("=") for pair in query.split("&") if pair))
        return Operation(
            name=name,
            method=http["method"],
            path=tuple(path.strip("/").split("/")),
            query=pairs,
            status=http.get("responseCode", 200),
            input=self._optional(described.get("input")),
            output=self._optional(described.get("output")),
        )

    def _optional(self, reference: dict[str, Any] | None) -> Shape | None:
        return self.shape(reference["shape"]) if reference else None

    def shape(self, name: str) -> Shape:
        """Built before its members are, so that a shape may contain itself."""
        known = self._built.get(name)
        if known is not None:
            return known
        described = self._described[name]
        shape = self._built[name] = Shape(
            name=name,
            kind=Kind(described["type"]),
            minimum=described.get("min"),
            maximum=described.get("max"),
            pattern=described.get("pattern"),
            choices=tuple(described.get("enum", ())),
            sensitive=bool(described.get("sensitive")),
            required=tuple(described.get("required", ())),
            payload=described.get("payload"),
        )
        for member, reference in described.get("members", {}).items():
            shape.members[member] = Member(
                name=member,
                wire_name=reference.get("locationName", member),
                location=Location(reference.get("location", "body")),
                shape=self.shape(reference["shape"]),
            )
        if shape.kind is Kind.LIST:
            shape.element = self.shape(described["member"]["shape"])
        if shape.kind is Kind.MAP:
            shape.element = self.shape(described["value"]["shape"])
            shape.key = self.shape(described["key"]["shape"])
        return shape


_SEPARATORS = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def compile_pattern(text: str) -> re.Pattern[str]:
    r"""A pattern of the model, written for Java, for `fullmatch`. \p{L} and its like are the only things Python lacks."""
    translated = text.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\w").replace(r"\p{Z}", _SEPARATORS)
    return re.compile(translated, 0 if translated != text else re.ASCII)
