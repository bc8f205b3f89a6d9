"""Made-up requests, valid and invalid, for every operation of a service model, in any of its protocols.

Most values fit their shape and many name things that exist, so that requests get as far as the handlers and the database; some
break a type, a range, a pattern or the JSON itself. A request is what goes over the wire: method, path, query, headers, body.
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from shared.aws.patterns import compile_pattern
from shared.aws.service_model import Kind, Location, Member, Operation, ServiceModel, Shape

DEPTH_MAX = 6


@dataclass(frozen=True)
class Vocabulary:
    """Values by member name: names of what exists, of what does not, and of what is hard to get right, the best first.

    at: by operation and member name, in place of `known`'s. pairs: by the name of a map, those of which its keys and its values
    are. only: members that never have any other value (what they have may be tried, or waited for). Of optional members: favoured
    ones are in every request that is right, rare ones in none.
    """

    known: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    at: Mapping[tuple[str, str], Sequence[Any]] = field(default_factory=dict)
    pairs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    only: frozenset[str] = frozenset()
    favoured: frozenset[str] = frozenset()
    rare: frozenset[str] = frozenset()


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
            body = body.replace(quote(stand_in, safe="").encode(), quote(name, safe="").encode())
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
FORM = {"content-type": "application/x-www-form-urlencoded"}
FORMS = st.sampled_from(
    [
        b"",
        b"Action=",
        b"Action=Publish",
        b"%",
        b"Version=2010-03-31",
        b"Action=Publish&Version=2010-03-31&" + b"a" * 9_000,
        b"\xff=1",
    ]
)
_TYPES = st.sampled_from(
    [{"content-type": "application/json"}] * 6
    + [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-amz-json-1.0"},
        {"content-type": "text/html; charset=x"},
    ]
)


class MadeUp:
    """Of one service."""

    def __init__(self, model: ServiceModel, vocabulary: Vocabulary) -> None:
        self.model = model
        self._words = vocabulary
        self._texts: dict[str, st.SearchStrategy[str]] = {}

    def requests(self, operation: Operation, protocol: str = "rest-json") -> st.SearchStrategy[WireRequest]:
        """One request to an operation, as bytes and text."""
        if protocol == "json":
            return _json_request(self, operation)
        return _form_request(self, operation) if protocol == "query" else _rest_request(self, operation)

    def exactly(self, operation: Operation, protocol: str, members: Mapping[str, Any]) -> WireRequest:
        """The request with just these members, whatever they are."""
        shape = operation.input
        assert shape is not None
        if protocol == "query":
            return _form(self, operation, members)
        labels = {
            name: quote(_as_text(members[name]), safe="") for name in members if shape.members[name].location is Location.URI
        }
        body = _json({shape.members[name].wire_name: value for name, value in members.items() if name not in labels})
        if protocol == "json":
            return WireRequest(operation.name, "POST", "/", "", _json_headers(self, operation), body)
        path = "/" + "/".join(labels[part[1:-1]] if part.startswith("{") else part for part in operation.path)
        return WireRequest(operation.name, operation.method, path, "", {"content-type": "application/json"}, body)

    def value_of(
        self, shape: Shape, name: str, wild: bool, depth: int = 0, operation: str | None = None
    ) -> st.SearchStrategy[Any]:
        """JSON values for a shape. wild: of ten, about seven fit, two break a constraint, one its type; else all fit."""
        fitting = self._fitting(shape, name, wild, depth, operation)
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
        elif name in self._words.only and shape.kind is not Kind.STRING:
            return fitting
        return st.integers(0, 29).flatmap(lambda pick: fitting if pick < 24 else odd if pick < 28 else JUNK)

    def _fitting(self, shape: Shape, name: str, wild: bool, depth: int, operation: str | None) -> st.SearchStrategy[Any]:
        usual = self._by_kind(shape, name, wild, depth)
        known = self._words.known.get(name)
        if operation is not None:
            known = self._words.at.get((operation, name), known)
        if known is None:
            return usual
        fits = [value for value in known if _is_kind(shape.kind, value)]
        if not fits:
            return usual
        if name in self._words.only:
            return st.sampled_from(fits)
        return st.integers(0, 9).flatmap(
            lambda pick: usual if pick == 0 else st.just(fits[0]) if pick < 6 else st.sampled_from(fits)
        )

    def _by_kind(self, shape: Shape, name: str, wild: bool, depth: int) -> st.SearchStrategy[Any]:
        if shape.kind is Kind.STRUCTURE:
            return st.just({}) if depth > DEPTH_MAX else st.deferred(lambda: _members_of(self, shape, wild, depth + 1))
        if shape.kind is Kind.LIST:
            element = shape.element
            assert element is not None
            least = min(int(shape.minimum or 0), 3)
            return (
                st.lists(self.value_of(element, name, wild, depth + 1), min_size=least, max_size=max(least, 3))
                if depth < DEPTH_MAX
                else st.just([])
            )
        if shape.kind is Kind.MAP:
            assert shape.key is not None
            assert shape.element is not None
            key, element = self._words.pairs.get(name, ("", ""))
            keys = self._fitting(shape.key, key, wild, depth, None)
            return st.dictionaries(keys, self.value_of(shape.element, element, wild, depth + 1), max_size=3)
        return self._scalar(shape)

    def _scalar(self, shape: Shape) -> st.SearchStrategy[Any]:
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
        if shape.name not in self._texts:
            self._texts[shape.name] = _text(shape)
        return self._texts[shape.name]

    def optional(self, shape: Shape, wild: bool) -> list[Member]:
        found = [member for member in shape.members.values() if member.name not in shape.required]
        return found if wild else [member for member in found if member.name not in self._words.rare]

    def is_favoured(self, member: Member) -> bool:
        return member.name in self._words.favoured


def _is_kind(kind: Kind, value: object) -> bool:
    kinds: dict[Kind, type | tuple[type, ...]] = {Kind.STRING: str, Kind.BLOB: str, Kind.LIST: list, Kind.MAP: dict}
    kinds |= {Kind.INTEGER: int, Kind.LONG: int, Kind.BOOLEAN: bool, Kind.DOUBLE: (int, float), Kind.STRUCTURE: dict}
    wanted = kinds.get(kind)
    return wanted is not None and isinstance(value, wanted)


def _text(shape: Shape) -> st.SearchStrategy[str]:
    if shape.choices:
        return st.sampled_from(shape.choices)
    least = int(shape.minimum or 0)
    if shape.pattern is None or least > 200:
        return st.text(string.ascii_letters + string.digits + "-_", min_size=least, max_size=max(least, 12))
    most = int(shape.maximum or 256)
    return st.from_regex(compile_pattern(shape.pattern), fullmatch=True).filter(lambda text: least <= len(text) <= most)


@st.composite
def _members_of(
    draw: st.DrawFn, made: MadeUp, shape: Shape, wild: bool, depth: int, operation: str | None = None
) -> dict[str, Any]:
    """What goes into a body, by wire names. Required ones are rarely left out, of the others a few are there."""
    found: dict[str, Any] = {}
    optional = made.optional(shape, wild)
    most = 4 if wild else 2
    chosen = draw(st.lists(st.sampled_from(optional), max_size=most, unique_by=lambda member: member.name)) if optional else []
    chosen += [member for member in optional if not wild and made.is_favoured(member) and member not in chosen]
    for member in [*(shape.members[name] for name in shape.required), *chosen]:
        if member.location is not Location.BODY:
            continue
        if wild and member.name in shape.required and draw(st.integers(0, 39)) == 0:
            continue
        found[member.wire_name] = draw(made.value_of(member.shape, member.name, wild, depth, operation))
    if wild and draw(st.integers(0, 19)) == 0:
        found[draw(st.sampled_from(["Unknown", "functionname", "", "__type"]))] = draw(JUNK)
    return found


@st.composite
def _json_request(draw: st.DrawFn, made: MadeUp, operation: Operation) -> WireRequest:
    """All to one path, named in a header."""
    wild = draw(st.booleans())
    if wild and draw(st.integers(0, 9)) == 0:
        body = draw(BODIES)
    else:
        members = draw(_members_of(made, operation.input, wild, 0, operation.name)) if operation.input is not None else {}
        body = _json(members, draw(st.booleans()))
    return WireRequest(operation.name, "POST", "/", "", _json_headers(made, operation), body)


def _json_headers(made: MadeUp, operation: Operation) -> dict[str, str]:
    return {"x-amz-target": f"{made.model.target}.{operation.name}", "content-type": "application/x-amz-json-1.0"}


def _json(value: Any, ascii: bool = True) -> bytes:
    return json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")


@st.composite
def _form_request(draw: st.DrawFn, made: MadeUp, operation: Operation) -> WireRequest:
    """A form; of what does not fit a name is made as well as can be."""
    if draw(st.integers(0, 19)) == 0:
        return WireRequest(operation.name, "POST", "/", "", FORM, draw(BODIES | FORMS))
    wild = draw(st.booleans())
    return _form(
        made,
        operation,
        draw(_members_of(made, operation.input, wild, 0, operation.name)) if operation.input is not None else {},
    )


def _form(made: MadeUp, operation: Operation, members: Mapping[str, Any]) -> WireRequest:
    fields = [("Action", operation.name), ("Version", made.model.api_version)]
    if operation.input is not None:
        fields += _fields("", dict(members), operation.input)
    body = urlencode([(name, text.encode("utf-8", "surrogatepass")) for name, text in fields]).encode()
    return WireRequest(operation.name, "POST", "/", "", FORM, body)


def _fields(prefix: str, value: Any, shape: Shape | None, flat: bool = False) -> list[tuple[str, str]]:
    """The fields of a value below a name; shape: None where the value is none that the model knows."""
    if isinstance(value, dict):
        if shape is not None and shape.kind is Kind.MAP:
            names = (shape.key_name or "key", shape.element_name or "value")
            parts = [(f"{number}.{names[0]}", key, shape.key) for number, key in enumerate(value, 1)]
            parts += [(f"{number}.{names[1]}", item, shape.element) for number, item in enumerate(value.values(), 1)]
            below = prefix if flat or shape.flattened else f"{prefix}.entry"
            return [field for part, item, inner in parts for field in _fields(f"{below}.{part}", item, inner)]
        found = []
        by_wire = {} if shape is None else {member.wire_name: member for member in shape.members.values()}
        for name, item in value.items():
            member = by_wire.get(name)
            known, flattened = (name, False) if member is None else (member.query_name, member.flattened)
            if member is not None and flattened and member.shape.kind is Kind.LIST:
                known = member.shape.element_name or known
            below = f"{prefix}.{known}" if prefix else known
            found += _fields(below, item, None if member is None else member.shape, flattened)
        return found
    if isinstance(value, list):
        known_shape = shape if shape is not None and shape.kind is Kind.LIST else None
        name = "member" if known_shape is None else known_shape.element_name or "member"
        below = prefix if flat or (known_shape is not None and known_shape.flattened) else f"{prefix}.{name}"
        inner = None if known_shape is None else known_shape.element
        return [field for number, item in enumerate(value, 1) for field in _fields(f"{below}.{number}", item, inner)]
    return [(prefix, _as_text(value))]


@st.composite
def _rest_request(draw: st.DrawFn, made: MadeUp, operation: Operation) -> WireRequest:
    shape = operation.input
    if shape is None:
        return WireRequest(operation.name, operation.method, "/" + "/".join(operation.path))
    wild = draw(st.booleans())
    labels: dict[str, str] = {}
    query = [f"{name}={value}" if value else name for name, value in operation.query]
    headers: dict[str, str] = {}
    for member in shape.members.values():
        values = made.value_of(member.shape, member.name, wild, 0, operation.name)
        if member.location is Location.URI:
            labels[member.wire_name] = quote(_as_text(draw(values)), safe=draw(st.sampled_from(["", ":"])))
        elif member.location is Location.QUERY and _wanted(draw, shape, member, wild):
            value = draw(values)
            for item in value if isinstance(value, list) else [value]:
                query.append(f"{quote(member.wire_name, safe='')}={quote(_as_text(item), safe='')}")
        elif member.location is Location.HEADER and _wanted(draw, shape, member, wild):
            headers[member.wire_name.lower()] = _header_text(draw(values))
    path = "/" + "/".join(labels[part[1:-1]] if part.startswith("{") else part for part in operation.path)
    headers |= draw(_TYPES) if wild else {"content-type": "application/json"}
    body = draw(_body(made, shape, wild, operation.name))
    return WireRequest(operation.name, operation.method, path, "&".join(query), headers, body)


def _wanted(draw: st.DrawFn, shape: Shape, member: Member, wild: bool) -> bool:
    return not wild or draw(st.integers(0, 19)) > 0 if member.name in shape.required else draw(st.booleans())


@st.composite
def _body(draw: st.DrawFn, made: MadeUp, shape: Shape, wild: bool, operation: str) -> bytes:
    has_body = shape.payload is not None or any(m.location is Location.BODY for m in shape.members.values())
    if wild and draw(st.integers(0, 9)) == 0:
        return draw(BODIES)
    if not has_body:
        return b"{}" if draw(st.integers(0, 9)) == 0 else b""
    if shape.payload is not None:
        return draw(st.sampled_from([b"{}", b'{"a": [1]}', b"", b"5"]))
    return _json(draw(_members_of(made, shape, wild, 0, operation)), draw(st.booleans()))


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _header_text(value: Any) -> str:
    """What can be a header's value at all."""
    return "".join(character for character in _as_text(value) if " " <= character <= "\xff" and character != "\x7f").strip()
