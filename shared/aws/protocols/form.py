"""Requests of the query protocols: a form whose names spell out where in the parameters a value belongs
(`Tags.member.1.Key=a`)."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from shared.aws.protocols import scalars
from shared.aws.protocols.protocol import Params, known
from shared.aws.service_model import Kind, Member, Shape
from shared.domain.errors import SerializationException

FIELDS_MAX = 20_000
DEPTH_MAX = 32


class Branch:
    """All fields whose names begin with the same parts. text: of the field that ends here."""

    __slots__ = ("branches", "text")

    def __init__(self) -> None:
        self.text: str | None = None
        self.branches: dict[str, Branch] = {}

    def indexed(self) -> list[Branch]:
        """In the order of their numbers; gaps are allowed."""
        numbered = [(int(name), branch) for name, branch in self.branches.items() if name.isdecimal() and len(name) <= 9]
        return [branch for _, branch in sorted(numbered, key=lambda pair: pair[0])]


def read_form(body: bytes) -> Branch:
    """Raises SerializationException."""
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise SerializationException(f"Could not parse the request's form: {error}") from error
    root = Branch()
    for name, text in pairs:
        parts = name.split(".", DEPTH_MAX)
        if len(parts) > DEPTH_MAX:
            raise SerializationException("A parameter's name has too many parts.")
        branch = root
        for part in parts:
            found = branch.branches.get(part)
            if found is None:
                found = branch.branches[part] = Branch()
            branch = found
        branch.text = text
    return root


class FormReader:
    """plain_lists: ec2's way, in which all lists are numbered without a name in between, and none is sent empty."""

    def __init__(self, *, plain_lists: bool = False) -> None:
        self._plain_lists = plain_lists

    def structure(self, shape: Shape, branch: Branch) -> Params:
        found: Params = {}
        for member in shape.members.values():
            value = self._member(member, branch)
            if value is not None:
                found[member.name] = value
        return found

    def _member(self, member: Member, branch: Branch) -> Any:
        shape = member.shape
        inner = branch.branches.get(member.query_name)
        if member.flattened and shape.kind is Kind.LIST and not self._plain_lists:
            named = branch.branches.get(shape.element_name or member.query_name)
            if named is not None and named.branches:
                return self._list(known(shape.element), named)
            # An empty list keeps the name of the member.
            return None if inner is None else []
        if inner is None:
            return None
        if member.flattened and shape.kind is Kind.MAP:
            return self._map(shape, inner)
        return self._value(shape, inner)

    def _value(self, shape: Shape, branch: Branch) -> Any:
        match shape.kind:
            case Kind.STRUCTURE:
                return self.structure(shape, branch)
            case Kind.LIST:
                if self._plain_lists or shape.flattened:
                    return self._list(known(shape.element), branch)
                inner = branch.branches.get(shape.element_name or "member")
                return [] if inner is None else self._list(known(shape.element), inner)
            case Kind.MAP:
                inner = branch if shape.flattened else branch.branches.get("entry")
                return {} if inner is None else self._map(shape, inner)
        if branch.text is None:
            raise SerializationException("A parameter has parts where one value is expected.")
        return scalars.from_text(shape, branch.text)

    def _list(self, element: Shape, branch: Branch) -> list[Any]:
        return [self._value(element, item) for item in branch.indexed()]

    def _map(self, shape: Shape, branch: Branch) -> dict[str, Any]:
        found = {}
        for entry in branch.indexed():
            key = entry.branches.get(shape.key_name or "key")
            value = entry.branches.get(shape.element_name or "value")
            if key is None or value is None:
                raise SerializationException("An entry of a map has no key or no value.")
            found[self._value(known(shape.key), key)] = self._value(known(shape.element), value)
        return found
