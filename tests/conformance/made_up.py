"""Made-up requests, valid and invalid, for every operation of the service model.

Most values fit their shape and many name things that exist, so that requests get as far as the handlers and the database; some
break a type, a range, a pattern or the JSON itself. A request is what goes over the wire: method, path, query, headers, body.
"""

from __future__ import annotations

import base64
import functools
import json
import string
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from shared.aws.patterns import compile_pattern
from shared.aws.service_model import Kind, Location, Member, Operation, Shape, load_service_model
from tests.support import zip_of

MODEL = load_service_model()
ACCOUNT, REGION = "000000000000", "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
ZIP = zip_of({"index.py": "def handler(event, context):\n    return event\n"})
DEPTH_MAX = 6
MAPPING = "00000000-0000-4000-8000-000000000000"
SIGNING = f"{ARN}:code-signing-config:csc-00000000000000000"
"""Stand for what `SETUP` makes and only its answer names."""

FUNCTIONS = [
    "f",
    "g",
    "gone",
    f"{ARN}:function:f",
    f"{ACCOUNT}:function:f",
    f"{ARN}:function:f:1",
    "f:live",
    "f:$LATEST",
    "f:gone",
]
KNOWN: dict[str, list[Any]] = {
    "FunctionName": FUNCTIONS,
    "Qualifier": ["$LATEST", "1", "live", "2", "9999999999", "gone"],
    "FunctionVersion": ["$LATEST", "1", "2", "0", "7"],
    "Name": ["live", "beta", "gone"],
    "LayerName": ["layer", "gone", f"{ARN}:layer:layer"],
    "VersionNumber": [1, 2, 0, -1, 9_999_999_999],
    "Arn": [f"{ARN}:layer:layer:1", f"{ARN}:layer:gone:1"],
    "Layers": [[f"{ARN}:layer:layer:1"], []],
    "Resource": [
        f"{ARN}:function:f",
        f"{ARN}:function:gone",
        f"{ARN}:event-source-mapping:00000000-0000-4000-8000-000000000000",
    ],
    "ResourceArn": [f"{ARN}:function:f", f"{ARN}:function:gone", f"{ARN}:function:f:1"],
    "Runtime": ["python3.12", "nodejs20.x", "provided.al2023", "python2.7", "nope"],
    "Role": [ROLE],
    "Handler": ["index.handler", "x"],
    "Statement": ["s1", "s2"],
    "StatementId": ["s1", "s2", "gone"],
    "Action": ["lambda:InvokeFunction", "lambda:GetLayerVersion", "lambda:InvokeFunctionUrl", "lambda:*"],
    "Principal": ["s3.amazonaws.com", "*", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"],
    "ZipFile": [base64.b64encode(ZIP).decode(), "", base64.b64encode(b"no zip").decode()],
    "S3Bucket": ["bucket", "no-such-bucket"],
    "S3Key": ["key.zip", "../../etc/passwd", "/", ".", "a//b", "a/" * 200],
    "S3ObjectVersion": ["v", "null"],
    "Publish": [True, False],
    "DryRun": [True, False],
    "EventSourceArn": [
        f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1",
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
        f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s",
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000",
    ],
    "Topics": [["topic"], []],
    "StartingPosition": ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"],
    # Only addresses of this machine on which nothing listens: a mapping that is made may be tried.
    "Endpoints": [{"KAFKA_BOOTSTRAP_SERVERS": ["127.0.0.1:1"]}],
    "SchemaRegistryURI": ["http://127.0.0.1:1", f"arn:aws:glue:{REGION}:{ACCOUNT}:registry/r"],
    "Destination": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", f"{ARN}:function:f", "arn:aws:sns:us-east-1:000000000000:t", ""],
    "TargetArn": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", ""],
    "UUID": [MAPPING, "11111111-0000-4000-8000-000000000000", "gone"],
    "CodeSigningConfigArn": [SIGNING, f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-11111111111111111"],
    "SigningProfileVersionArns": [[f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/abcdefghij"]],
    "Policy": ["{}", "{", "[]", '{"Version":"2012-10-17","Statement":[]}', '{"Statement":5}'],
    "Marker": ["bm90aGluZw==", "IiI=", "WyJmIiwxXQ==", "MQ==", "!"],
    "MaxItems": [1, 50, 10_000],
    "TagKeys": [["a"], ["a", "b"]],
    "Tags": [{"a": "b"}, {}],
    "Pattern": ['{"value": {"a": [1]}}', "{", '{"a": [{"exists": true}]}', '{"a": [{"numeric": [">", "x"]}]}', "[]"],
    "InvocationType": ["RequestResponse", "Event", "DryRun"],
    "RevisionId": ["gone"],
    "CapacityProviderName": ["gone"],
    "DurableExecutionArn": [f"{ARN}:function:f:1/durable-execution/e/0123456789"],
}
"""Values by member name: names of what `SETUP` makes, of what does not exist, and of what is hard to get right."""

SETUP: list[tuple[str, dict[str, Any]]] = [
    *(
        (
            "CreateFunction",
            {
                "FunctionName": name,
                "Runtime": "python3.12",
                "Role": ROLE,
                "Handler": "index.handler",
                "Code": {"ZipFile": base64.b64encode(ZIP).decode()},
                "Publish": True,
            },
        )
        for name in ("f", "g")
    ),
    ("CreateAlias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
    ("PublishLayerVersion", {"LayerName": "layer", "Content": {"ZipFile": base64.b64encode(ZIP).decode()}}),
    ("AddPermission", {"FunctionName": "f", "StatementId": "s1", "Action": "lambda:InvokeFunction", "Principal": "*"}),
    ("PutFunctionEventInvokeConfig", {"FunctionName": "f", "MaximumRetryAttempts": 1}),
    ("CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE"}),
    (
        "CreateEventSourceMapping",
        {
            "FunctionName": "g",
            "EventSourceArn": KNOWN["EventSourceArn"][0],
            "Topics": ["made-up"],
            "StartingPosition": "LATEST",
            "Enabled": False,
        },
    ),
    ("CreateCodeSigningConfig", {"AllowedPublishers": {"SigningProfileVersionArns": KNOWN["SigningProfileVersionArns"][0]}}),
]
TAKEN = {"CreateEventSourceMapping": ("UUID", MAPPING), "CreateCodeSigningConfig": ("CodeSigningConfigArn", SIGNING)}
"""Of an answer of `SETUP`: the member that is used, and what stands for it. Of the second, the member of a member."""
FAVOURED = {"ZipFile"}
RARE = {"S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "SourceKMSKeyArn", "RevisionId"}
"""Of optional members: what a request that is right has, and what it can only be wrong with."""
AT: dict[tuple[str, str], list[Any]] = {
    ("AddLayerVersionPermission", "Action"): ["lambda:GetLayerVersion"],
    ("CreateFunction", "FunctionName"): [*(f"new-{number}" for number in range(8))],
    ("CreateEventSourceMapping", "FunctionName"): ["g", "f"],
    ("CreateFunctionUrlConfig", "FunctionName"): ["g", "f"],
}
"""Values by operation and member name, in place of `KNOWN`'s."""
"""What the requests find, again and again: they delete much of it."""


@dataclass(frozen=True)
class WireRequest:
    operation: str
    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def naming(self, names: dict[str, str]) -> WireRequest:
        """With the real names in place of those that stand for them."""
        path, query, body = self.path, self.query, self.body
        for stand_in, name in names.items():
            path = path.replace(stand_in, name).replace(quote(stand_in, safe=""), quote(name, safe=""))
            query = query.replace(quote(stand_in, safe=""), quote(name, safe=""))
            body = body.replace(stand_in.encode(), name.encode())
        return WireRequest(self.operation, self.method, path, query, self.headers, body)


JUNK_TEXT = st.sampled_from(
    ["", "a", " ", "$LATEST", "null", "0", "-1", "x" * 300, "é€😀", "a\x00b", "%2F", "..", "a/b", "\u2028", "\ud7ff", "'; --"]
)
JUNK_NUMBER = st.sampled_from([0, 1, -1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, 3.0])
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    JUNK_NUMBER,
    JUNK_TEXT,
    st.text(max_size=10),
    st.just([]),
    st.just({}),
    st.just([None]),
    st.just({"": None}),
    st.just([[["deep"]]]),
    st.lists(JUNK_TEXT, max_size=3),
    st.dictionaries(st.text(max_size=4), JUNK_TEXT, max_size=3),
)
JSON_TEXT = st.text(string.printable, max_size=20)
BODIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"{",
            b"nul",
            b"[]",
            b'"text"',
            b"5",
            b"null",
            b" \n",
            b"{}{}",
            b"\xff\xfe{}",
            b"\xef\xbb\xbf{}",
            b'{"a": \xff}',
            b'{"a": "\xc3\x28"}',
            b'{"a": "\\ud800"}',
            b'{"a": 1, "a": 2}',
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": 1e999}',
            b"[" * 5_000,
            b'{"a":' * 5_000,
            b'{"Description": ' + b"[" * 900 + b"]" * 900 + b"}",
        ]
    ),
)


def value_of(shape: Shape, name: str, wild: bool, depth: int = 0, operation: str | None = None) -> st.SearchStrategy[Any]:
    """JSON values for a shape. wild: of ten, about seven fit, two break a constraint, one its type; else all fit."""
    fitting = _fitting(shape, name, wild, depth, operation)
    if not wild:
        return fitting
    if shape.kind is Kind.STRING:
        odd: st.SearchStrategy[Any] = JUNK_TEXT | st.text(max_size=12)
    elif shape.kind in (Kind.INTEGER, Kind.LONG, Kind.DOUBLE, Kind.TIMESTAMP):
        odd = JUNK_NUMBER
    else:
        odd = JUNK
    if name == "Endpoints":
        odd = st.just({}) | st.just({"KAFKA_BOOTSTRAP_SERVERS": []}) | st.just({"NOPE": ["127.0.0.1:1"]})
    return st.integers(0, 29).flatmap(lambda pick: fitting if pick < 24 else odd if pick < 28 else JUNK)


def _fitting(shape: Shape, name: str, wild: bool, depth: int, operation: str | None) -> st.SearchStrategy[Any]:
    usual = _by_kind(shape, name, wild, depth)
    known = KNOWN.get(name) if operation is None else AT.get((operation, name), KNOWN.get(name))
    if known is None:
        return usual
    fits = [value for value in known if _is_kind(shape.kind, value)]
    if not fits:
        return usual
    if name in ("Endpoints", "SchemaRegistryURI"):
        return st.sampled_from(fits)
    return st.integers(0, 9).flatmap(
        lambda pick: usual if pick == 0 else st.just(fits[0]) if pick < 6 else st.sampled_from(fits)
    )


def _is_kind(kind: Kind, value: object) -> bool:
    kinds: dict[Kind, type | tuple[type, ...]] = {Kind.STRING: str, Kind.BLOB: str, Kind.LIST: list, Kind.MAP: dict}
    kinds |= {Kind.INTEGER: int, Kind.LONG: int, Kind.BOOLEAN: bool, Kind.DOUBLE: (int, float)}
    wanted = kinds.get(kind)
    return wanted is not None and isinstance(value, wanted)


def _by_kind(shape: Shape, name: str, wild: bool, depth: int) -> st.SearchStrategy[Any]:
    if shape.kind is Kind.STRUCTURE:
        return st.just({}) if depth > DEPTH_MAX else st.deferred(lambda: members_of(shape, wild, depth + 1))
    if shape.kind is Kind.LIST:
        element = shape.element
        assert element is not None
        least = min(int(shape.minimum or 0), 3)
        return (
            st.lists(value_of(element, name, wild, depth + 1), min_size=least, max_size=max(least, 3))
            if depth < DEPTH_MAX
            else st.just([])
        )
    if shape.kind is Kind.MAP:
        assert shape.key is not None
        assert shape.element is not None
        return st.dictionaries(_by_kind(shape.key, "", wild, depth), value_of(shape.element, "", wild, depth + 1), max_size=3)
    return _scalar(shape)


def _scalar(shape: Shape) -> st.SearchStrategy[Any]:
    kind = shape.kind
    if kind in (Kind.INTEGER, Kind.LONG):
        most = 2**31 - 1 if kind is Kind.INTEGER else 2**63 - 1
        low, high = int(shape.minimum or 0), int(min(shape.maximum or most, most))
        return st.sampled_from([low, high]) | st.integers(low, high)
    if kind is Kind.DOUBLE:
        return st.floats(float(shape.minimum or 0), float(shape.maximum or 1e6))
    if kind is Kind.BOOLEAN:
        return st.booleans()
    if kind is Kind.TIMESTAMP:
        return st.sampled_from([0, 1_767_225_600, 1_767_225_600.25, "2026-01-01T00:00:00Z", 1e15, -1e15])
    if kind is Kind.BLOB:
        return st.binary(max_size=30).map(lambda raw: base64.b64encode(raw).decode())
    return _text(shape.name)


@functools.cache
def _text(shape_name: str) -> st.SearchStrategy[str]:
    shape = _SHAPES[shape_name]
    if shape.choices:
        return st.sampled_from(shape.choices)
    least = int(shape.minimum or 0)
    if shape.pattern is None or least > 200:
        return st.text(string.ascii_letters + string.digits + "-_", min_size=least, max_size=max(least, 12))
    most = int(shape.maximum or 256)
    return st.from_regex(compile_pattern(shape.pattern), fullmatch=True).filter(lambda text: least <= len(text) <= most)


def _all_shapes() -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    waiting = [o.input for o in MODEL.operations.values() if o.input is not None]
    while waiting:
        shape = waiting.pop()
        if shape.name not in found:
            found[shape.name] = shape
            waiting += [member.shape for member in shape.members.values()]
            waiting += [inner for inner in (shape.element, shape.key) if inner is not None]
    return found


_SHAPES = _all_shapes()


@st.composite
def members_of(draw: st.DrawFn, shape: Shape, wild: bool, depth: int, operation: str | None = None) -> dict[str, Any]:
    """What goes into a body, by wire names. Required ones are rarely left out, of the others a few are there."""
    found: dict[str, Any] = {}
    optional = [member for member in shape.members.values() if member.name not in shape.required]
    if not wild:
        optional = [member for member in optional if member.name not in RARE]
    most = 4 if wild else 2
    chosen = draw(st.lists(st.sampled_from(optional), max_size=most, unique_by=lambda member: member.name)) if optional else []
    chosen += [member for member in optional if not wild and member.name in FAVOURED and member not in chosen]
    for member in [*(shape.members[name] for name in shape.required), *chosen]:
        if member.location is not Location.BODY:
            continue
        if wild and member.name in shape.required and draw(st.integers(0, 39)) == 0:
            continue
        found[member.wire_name] = draw(value_of(member.shape, member.name, wild, depth, operation))
    if wild and draw(st.integers(0, 19)) == 0:
        found[draw(st.sampled_from(["Unknown", "functionname", "", "__type"]))] = draw(JUNK)
    return found


@st.composite
def requests(draw: st.DrawFn, operation: Operation) -> WireRequest:
    """One request to an operation, as bytes and text."""
    shape = operation.input
    if shape is None:
        return WireRequest(operation.name, operation.method, "/" + "/".join(operation.path))
    wild = draw(st.booleans())
    labels: dict[str, str] = {}
    query = [f"{name}={value}" if value else name for name, value in operation.query]
    headers: dict[str, str] = {}
    for member in shape.members.values():
        if member.location is Location.URI:
            labels[member.wire_name] = quote(
                _as_text(draw(value_of(member.shape, member.name, wild, 0, operation.name))),
                safe=draw(st.sampled_from(["", ":"])),
            )
        elif member.location is Location.QUERY and _wanted(draw, shape, member, wild):
            value = draw(value_of(member.shape, member.name, wild, 0, operation.name))
            for item in value if isinstance(value, list) else [value]:
                query.append(f"{quote(member.wire_name, safe='')}={quote(_as_text(item), safe='')}")
        elif member.location is Location.HEADER and _wanted(draw, shape, member, wild):
            headers[member.wire_name.lower()] = _header_text(draw(value_of(member.shape, member.name, wild, 0, operation.name)))
    path = "/" + "/".join(labels[part[1:-1]] if part.startswith("{") else part for part in operation.path)
    headers |= draw(_TYPES) if wild else {"content-type": "application/json"}
    return WireRequest(
        operation.name, operation.method, path, "&".join(query), headers, draw(_body(shape, wild, operation.name))
    )


def _wanted(draw: st.DrawFn, shape: Shape, member: Member, wild: bool) -> bool:
    return not wild or draw(st.integers(0, 19)) > 0 if member.name in shape.required else draw(st.booleans())


_TYPES = st.sampled_from(
    [{"content-type": "application/json"}] * 6
    + [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-amz-json-1.0"},
        {"content-type": "text/html; charset=x"},
    ]
)


@st.composite
def _body(draw: st.DrawFn, shape: Shape, wild: bool, operation: str) -> bytes:
    has_body = shape.payload is not None or any(m.location is Location.BODY for m in shape.members.values())
    if wild and draw(st.integers(0, 9)) == 0:
        return draw(BODIES)
    if not has_body:
        return b"{}" if draw(st.integers(0, 9)) == 0 else b""
    if shape.payload is not None:
        return draw(st.sampled_from([b"{}", b'{"a": [1]}', b"", b"5"]))
    found = draw(members_of(shape, wild, 0, operation))
    return json.dumps(found, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _header_text(value: Any) -> str:
    """What can be a header's value at all."""
    return "".join(character for character in _as_text(value) if " " <= character <= "\xff" and character != "\x7f").strip()


def plain(operation: str, members: dict[str, Any]) -> WireRequest:
    """A request that is right, from its members."""
    described = MODEL.operations[operation]
    assert described.input is not None
    shape = described.input
    path = "/" + "/".join(quote(str(members[part[1:-1]]), safe="") if part.startswith("{") else part for part in described.path)
    body = {
        shape.members[name].wire_name: value for name, value in members.items() if shape.members[name].location is Location.BODY
    }
    return WireRequest(operation, described.method, path, "", {}, json.dumps(body).encode())
