"""Values as XML: written and read by their shapes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from shared.aws.protocols import scalars
from shared.aws.protocols.protocol import Params, known
from shared.aws.service_model import Kind, Location, Member, Namespace, Shape
from shared.domain.errors import SerializationException

DEPTH_MAX = 64
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class XmlWriter:
    """query_names: members have the names of the query protocol."""

    def __init__(self, *, query_names: bool = False) -> None:
        self._query_names = query_names

    def structure(self, name: str, shape: Shape, value: Mapping[str, Any], namespace: Namespace | None = None) -> str:
        """An element with a structure's members, in the reply's own order."""
        attributes, inner = _declared(namespace), []
        for member, item in self._present(shape, value):
            if member.attribute:
                attributes += f" {member.wire_name}={quoteattr(str(item))}"
            else:
                inner.append(self._member(member, item))
        return f"<{name}{attributes}>{''.join(inner)}</{name}>"

    def members(self, shape: Shape, value: Mapping[str, Any]) -> str:
        """A structure's members without an element around them."""
        return "".join(self._member(member, item) for member, item in self._present(shape, value))

    def value(self, name: str, shape: Shape, value: Any, namespace: Namespace | None = None) -> str:
        match shape.kind:
            case Kind.STRUCTURE:
                return self.structure(name, shape, value, namespace)
            case Kind.LIST:
                return f"<{name}{_declared(namespace)}>{self._elements(shape.element_name or 'member', shape, value)}</{name}>"
            case Kind.MAP:
                return f"<{name}{_declared(namespace)}>{self._entries('entry', shape, value)}</{name}>"
        return f"<{name}{_declared(namespace)}>{_text(scalars.to_text(shape, value, scalars.ISO8601))}</{name}>"

    def _present(self, shape: Shape, value: Mapping[str, Any]) -> Iterable[tuple[Member, Any]]:
        for name, item in value.items():
            member = shape.members.get(name)
            if member is not None and item is not None and member.location is Location.BODY:
                yield member, item

    def _member(self, member: Member, value: Any) -> str:
        name = member.query_name if self._query_names else member.wire_name
        shape = member.shape
        if member.flattened and shape.kind is Kind.LIST:
            return self._elements(shape.element_name or name, shape, value)
        if member.flattened and shape.kind is Kind.MAP:
            return self._entries(name, shape, value)
        return self.value(name, shape, value, member.namespace)

    def _elements(self, name: str, shape: Shape, value: Iterable[Any]) -> str:
        element = known(shape.element)
        return "".join(self.value(name, element, item) for item in value)

    def _entries(self, name: str, shape: Shape, value: Mapping[Any, Any]) -> str:
        key_name, value_name = shape.key_name or "key", shape.element_name or "value"
        parts = []
        for key, item in value.items():
            pair = self.value(key_name, known(shape.key), key) + self.value(value_name, known(shape.element), item)
            parts.append(f"<{name}>{pair}</{name}>")
        return "".join(parts)


def element(name: str, text: str) -> str:
    return f"<{name}>{_text(text)}</{name}>"


def _declared(namespace: Namespace | None) -> str:
    if namespace is None:
        return ""
    return f" xmlns{':' + namespace.prefix if namespace.prefix else ''}={quoteattr(namespace.uri)}"


def _text(text: str) -> str:
    """What XML cannot hold at all becomes the replacement character."""
    return escape(_UNWRITABLE.sub("\ufffd", text), {"\r": "&#13;"})


class Node:
    """An element: names without their prefixes' meaning, as botocore reads them, too."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[Node] = []
        self.text = ""

    def named(self, name: str) -> list[Node]:
        return [child for child in self.children if child.name == name]


def read_document(body: bytes) -> Node:
    """Raises SerializationException for what is no XML, is too deep or brings a document type of its own."""
    root = Node("", {})
    open_nodes = [root]
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_nodes) > DEPTH_MAX:
            raise SerializationException("The XML is nested too deeply.")
        node = Node(name.rpartition(":")[2], attributes)
        open_nodes[-1].children.append(node)
        open_nodes.append(node)

    def end(name: str) -> None:
        del name
        open_nodes.pop()

    def text(data: str) -> None:
        open_nodes[-1].text += data

    def document_type(*_: object) -> None:
        raise SerializationException("The XML must not have a document type.")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, document_type
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise SerializationException(f"Could not parse request body into xml: {error}") from error
    return root.children[0]


def read_structure(shape: Shape, node: Node) -> Params:
    found: Params = {}
    for member in shape.members.values():
        if member.location is not Location.BODY:
            continue
        if member.attribute:
            if member.wire_name in node.attributes:
                found[member.name] = scalars.from_text(member.shape, node.attributes[member.wire_name])
        elif member.flattened and member.shape.kind is Kind.LIST:
            nodes = node.named(member.shape.element_name or member.wire_name)
            if nodes:
                found[member.name] = [_read(known(member.shape.element), child) for child in nodes]
        elif member.flattened and member.shape.kind is Kind.MAP:
            entries = node.named(member.wire_name)
            if entries:
                found[member.name] = _map(member.shape, entries)
        else:
            nodes = node.named(member.wire_name)
            if nodes:
                found[member.name] = _read(member.shape, nodes[0])
    return found


def _read(shape: Shape, node: Node) -> Any:
    match shape.kind:
        case Kind.STRUCTURE:
            return read_structure(shape, node)
        case Kind.LIST:
            return [_read(known(shape.element), child) for child in node.named(shape.element_name or "member")]
        case Kind.MAP:
            return _map(shape, node.named("entry"))
    return scalars.from_text(shape, node.text)


def _map(shape: Shape, entries: list[Node]) -> dict[str, Any]:
    found = {}
    for entry in entries:
        keys, values = entry.named(shape.key_name or "key"), entry.named(shape.element_name or "value")
        if not keys or not values:
            raise SerializationException("An entry of a map has no key or no value.")
        found[_read(known(shape.key), keys[0])] = _read(known(shape.element), values[0])
    return found
