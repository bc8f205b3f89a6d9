"""Which operation a request is for: method and path template, then the query parameters that some templates name."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from urllib.parse import unquote

import msgspec

from shared.aws.service_model import Location, Member, Operation

PATH_SEGMENTS_MAX = 16


class Route(msgspec.Struct, frozen=True):
    """labels: member name to the path segment's text, percent-decoded once."""

    operation: Operation
    labels: dict[str, str]


class _Node:
    __slots__ = ("children", "greedy", "label", "operations")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.label: _Node | None = None
        self.greedy: _Node | None = None
        self.operations: list[Operation] = []


class Router:
    """A tree of path segments. A segment spelled out in a template wins over a label in the same place, and that over a label
    that takes all the rest (`{Key+}`)."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path:
            if segment.endswith("+}"):
                node.greedy = node.greedy or _Node()
                node = node.greedy
            elif segment.startswith("{"):
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.children.setdefault(segment, _Node())
        node.operations.append(operation)
        # Templates that also ask for a query parameter are tried first, then those that need more outside the body.
        node.operations.sort(key=lambda found: (-len(found.query), -len(_needed(found)), found.deprecated))

    def route(
        self, method: str, raw_path: str, query: Mapping[str, list[str]], headers: Container[str] = frozenset()
    ) -> Route | None:
        """raw_path: as on the wire, so that an encoded slash stays inside its segment. One trailing slash is ignored, as
        older SDKs send it. headers: lower-case names. None when no operation has this method and path."""
        path = raw_path[1:-1] if len(raw_path) > 1 and raw_path.endswith("/") else raw_path[1:]
        segments = path.split("/", PATH_SEGMENTS_MAX)
        if not raw_path.startswith("/"):
            return None
        node = self._find(self._root, segments, 0)
        if node is None:
            return None
        possible = [
            operation
            for operation in node.operations
            if operation.method == method and all(value in query.get(key, ()) for key, value in operation.query)
        ]
        if not possible:
            return None
        operation = possible[0]
        if len(possible) > 1:
            # Operations that share a path are told apart by what they need: parameters in the query, headers.
            operation = next((one for one in possible if _has_all(_needed(one), query, headers)), possible[-1])
        return Route(operation, _labels(operation.path, raw_path, segments))

    def _find(self, node: _Node, segments: list[str], index: int) -> _Node | None:
        if index == len(segments):
            return node if node.operations else None
        child = node.children.get(segments[index])
        found = self._find(child, segments, index + 1) if child is not None else None
        if found is None and node.label is not None:
            found = self._find(node.label, segments, index + 1)
        if found is None and node.greedy is not None and node.greedy.operations and segments[index]:
            found = node.greedy
        return found


def _needed(operation: Operation) -> list[Member]:
    """Members that a request must have in its query or its headers."""
    shape = operation.input
    if shape is None:
        return []
    members = (shape.members[name] for name in shape.required)
    return [member for member in members if member.location in (Location.QUERY, Location.HEADER)]


def _has_all(needed: list[Member], query: Mapping[str, list[str]], headers: Container[str]) -> bool:
    return all(
        member.wire_name in query if member.location is Location.QUERY else member.wire_name.lower() in headers
        for member in needed
    )


def _labels(path: tuple[str, ...], raw_path: str, segments: list[str]) -> dict[str, str]:
    labels = {}
    for index, (part, text) in enumerate(zip(path, segments, strict=False)):
        if part.endswith("+}"):
            labels[part[1:-2]] = unquote(raw_path[1:].split("/", index)[index])
        elif part.startswith("{"):
            labels[part[1:-1]] = unquote(text)
    return labels


def parse_query(text: str) -> dict[str, list[str]]:
    """Query parameters, percent-decoded once; a `+` is a plus sign, as in a signature's canonical query."""
    found: dict[str, list[str]] = {}
    for pair in text.split("&") if text else ():
        if pair:
            key, _, value = pair.partition("=")
            found.setdefault(unquote(key), []).append(unquote(value))
    return found
