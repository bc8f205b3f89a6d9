"""Which operation a request is for: method and path template, then the query parameters that some templates name."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote

import msgspec

from shared.aws.service_model import Operation

PATH_SEGMENTS_MAX = 16


class Route(msgspec.Struct, frozen=True):
    """labels: member name to the path segment's text, percent-decoded once."""

    operation: Operation
    labels: dict[str, str]


class _Node:
    __slots__ = ("children", "label", "operations")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.label: _Node | None = None
        self.operations: list[Operation] = []


class Router:
    """A tree of path segments. A segment spelled out in a template wins over a label in the same place."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path:
            if segment.startswith("{"):
                node.label = node.label or _Node()
                node = node.label
            else:
                node = node.children.setdefault(segment, _Node())
        node.operations.append(operation)
        # Templates that also ask for a query parameter are tried first.
        node.operations.sort(key=lambda found: -len(found.query))

    def route(self, method: str, raw_path: str, query: dict[str, list[str]]) -> Route | None:
        """raw_path: as on the wire, so that an encoded slash stays inside its segment. One trailing slash is ignored, as
        older SDKs send it. None when no operation has this method and path."""
        path = raw_path[1:-1] if len(raw_path) > 1 and raw_path.endswith("/") else raw_path[1:]
        segments = path.split("/", PATH_SEGMENTS_MAX)
        if len(segments) > PATH_SEGMENTS_MAX or not raw_path.startswith("/"):
            return None
        node = self._find(self._root, segments, 0)
        if node is None:
            return None
        for operation in node.operations:
            if operation.method == method and all(value in query.get(key, ()) for key, value in operation.query):
                return Route(operation, _labels(operation.path, segments))
        return None

    def _find(self, node: _Node, segments: list[str], index: int) -> _Node | None:
        if index == len(segments):
            return node if node.operations else None
        child = node.children.get(segments[index])
        found = self._find(child, segments, index + 1) if child is not None else None
        if found is None and node.label is not None:
            found = self._find(node.label, segments, index + 1)
        return found


def _labels(path: tuple[str, ...], segments: list[str]) -> dict[str, str]:
    return {part[1:-1]: unquote(text) for part, text in zip(path, segments, strict=True) if part.startswith("{")}


def parse_query(text: str) -> dict[str, list[str]]:
    """Query parameters, percent-decoded once; a `+` is a plus sign, as in a signature's canonical query."""
    found: dict[str, list[str]] = {}
    for pair in text.split("&") if text else ():
        if pair:
            key, _, value = pair.partition("=")
            found.setdefault(unquote(key), []).append(unquote(value))
    return found
