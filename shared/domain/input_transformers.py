"""What a target of a rule gets of an event: all, a part (InputPath), a text (Input) or a template (InputTransformer). Pure.

Source: "Amazon EventBridge input transformation" in the user guide, and recordings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

PATH = re.compile(r"\$(?:\.[^.\[\]]+|\[(?:[0-9]{1,9}|\*|'[^']*'|\"[^\"]*\")\])*")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(?:([0-9]+|\*)|'([^']*)'|\"([^\"]*)\")\]")
_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_QUOTES = re.compile(r'(?<!\\)(?:\\\\)*"')
PREDEFINED = "aws.events."


class _Nothing(msgspec.Struct, frozen=True):
    """What a path finds that leads to nothing."""


NOTHING = _Nothing()


class Path:
    """`$`, followed by names and places in arrays. Raises ValueError for what is none."""

    def __init__(self, text: str) -> None:
        if PATH.fullmatch(text) is None:
            raise ValueError(f"{text} is not a path")
        self._steps: list[str | int] = []
        for plain, place, single, double in _STEP.findall(text):
            if place and place != "*":
                self._steps.append(int(place))
            elif place:
                self._steps.append(place)
            else:
                self._steps.append(plain or single or double)

    def find(self, document: Any) -> Any:
        """NOTHING where it leads to none."""
        return _walk(document, self._steps, 0)


def _walk(value: Any, steps: list[str | int], at: int) -> Any:
    for place in range(at, len(steps)):
        step = steps[place]
        if step == "*" and isinstance(value, list):
            found = [_walk(element, steps, place + 1) for element in value]
            return [one for one in found if one is not NOTHING]
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return NOTHING
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return NOTHING
    return value


class Told(msgspec.Struct, frozen=True):
    """An event as it is given to a target. whole: its JSON. document: the same, parsed. predefined: what a template may say
    of it besides, by name without `aws.events.`; each is made when it is asked for."""

    whole: bytes
    document: Mapping[str, Any]
    predefined: Mapping[str, Callable[[], str | msgspec.Raw]]


Transform = Callable[[Told], bytes]


def transform_of(settings: Mapping[str, Any]) -> Transform:
    """settings: of a target, as PutTargets took it. Raises ValueError."""
    if settings.get("Input") is not None:
        constant = str(settings["Input"]).encode()
        return lambda told: constant
    if settings.get("InputPath"):
        path = Path(settings["InputPath"])
        return lambda told: _json(path.find(told.document))
    transformer = settings.get("InputTransformer")
    if transformer is not None:
        return _Template(transformer["InputTemplate"], transformer.get("InputPathsMap") or {}).fill
    return lambda told: told.whole


def _json(value: Any) -> bytes:
    return b"null" if value is NOTHING else json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class _Template:
    """A placeholder between quotes becomes a part of that text, one outside of them a value."""

    def __init__(self, template: str, paths: Mapping[str, str]) -> None:
        self._paths = {name: Path(text) for name, text in paths.items()}
        self._parts, self._end = _parts_of(template, lambda name: name in self._paths or name.startswith(PREDEFINED))

    def fill(self, told: Told) -> bytes:
        parts = []
        for before, name, quoted in self._parts:
            value = self._value(name, told)
            parts += [before, _as_text(value) if quoted else _as_value(value)]
        return "".join([*parts, self._end]).encode()

    def _value(self, name: str, told: Told) -> Any:
        path = self._paths.get(name)
        if path is not None:
            return path.find(told.document)
        make = told.predefined.get(name.removeprefix(PREDEFINED))
        return NOTHING if make is None else make()


def placeholders(template: str) -> list[str]:
    """Their names, as they come."""
    return [name for _, name, _ in _parts_of(template, _any)[0]]


def without_placeholders(template: str) -> str:
    """With nothing in texts, and a number where a value would be: whether that is JSON says whether the template is."""
    parts, end = _parts_of(template, _any)
    return "".join([*(before + ("" if quoted else "0") for before, _, quoted in parts), end])


def _any(name: str) -> bool:
    del name
    return True


def _parts_of(template: str, known: Callable[[str], bool]) -> tuple[list[tuple[str, str, bool]], str]:
    """What stands before each placeholder that is known, its name, and whether it is in a text; and what stands behind all."""
    parts: list[tuple[str, str, bool]] = []
    at, quoted = 0, False
    for found in _PLACEHOLDER.finditer(template):
        if not known(found[1]):
            continue
        before = template[at : found.start()]
        quoted ^= len(_QUOTES.findall(before)) % 2 == 1
        parts.append((before, found[1], quoted))
        at = found.end()
    return parts, template[at:]


def _as_value(value: Any) -> str:
    if value is NOTHING:
        return '""'
    return bytes(value).decode() if isinstance(value, msgspec.Raw) else _json(value).decode()


def _as_text(value: Any) -> str:
    """Lists and objects lose their quotes."""
    if value is NOTHING:
        return ""
    if isinstance(value, msgspec.Raw):
        return json.dumps(bytes(value).decode(), ensure_ascii=False)[1:-1]
    text = _json(value).decode()
    return text[1:-1] if isinstance(value, str) else _unquoted(value)


def _unquoted(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_unquoted(name)}:{_unquoted(member)}" for name, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_unquoted, value)) + "]"
    return json.dumps(value, ensure_ascii=False)[1:-1] if isinstance(value, str) else json.dumps(value)
