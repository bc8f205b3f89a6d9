"""The placeholders of one entry: what they stand for in a request, and whether an answer fits what was recorded."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

PLACEHOLDER = re.compile(r"<([a-z0-9-]+(?::\d+)?)>")
UNORDERED_MAX = 4
FORMS: dict[str, str | None] = {
    "epoch": None,
    "size": None,
    "number": None,
    "date": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,9})?(\+0000|Z)",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "sha256": r"[A-Za-z0-9+/]{43}=|[0-9a-f]{64}",
    "url": r"https?://\S+",
}
"""What a value of that kind looks like; None: a number. A service adds its own."""
EVERY_TIME_ANOTHER = ("size", "date", "epoch", "url", "number")
"""The same placeholder of these may stand for several values in one entry."""


class Values:
    """What is not known beforehand takes its value where it is first seen, and has it from then on.

    known: what is. forms: how others look, beside FORMS. every_time_another: more kinds of EVERY_TIME_ANOTHER.
    """

    def __init__(
        self, known: Mapping[str, Any], forms: Mapping[str, str | None] | None = None, every_time_another: tuple[str, ...] = ()
    ) -> None:
        self.known: dict[str, Any] = dict(known)
        self._forms = {**FORMS, **(forms or {})}
        self._changing = EVERY_TIME_ANOTHER + every_time_another

    def computed(self, text: str) -> Any:
        """What a whole text stands for, of those that only one service's entries have; None for none of them."""
        return None

    def alike(self, expected: str, found: Any) -> bool | None:
        """Whether a value is one that only one service's entries describe so; None when it is compared like any other."""
        return None

    def take(self, reply: Any, path: str, placeholder: str) -> None:
        """Remember a member of a reply (`A.B.0`) under a placeholder's name."""
        for step in path.split("."):
            reply = reply[int(step)] if step.isdigit() else reply[step]
        self.known[placeholder] = reply

    def fill(self, value: Any) -> Any:
        """As a request has it: {$json: X} becomes text, {$repeat: [s, n]} too."""
        if isinstance(value, dict):
            if set(value) == {"$json"}:
                return json.dumps(self.fill(value["$json"]))
            return self._told(value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if (match := PLACEHOLDER.fullmatch(value)) and match[1] in self.known:
            return self.known[match[1]]
        found = self.computed(value)
        if found is not None:
            return found
        value = re.sub(r"<(\d+) times (\w)>", lambda match: match[2] * int(match[1]), value)
        return PLACEHOLDER.sub(lambda match: str(self.known.get(match[1], match[0])), value)

    def _told(self, value: dict[str, Any]) -> Any:
        if set(value) == {"$repeat"}:
            text, count = value["$repeat"]
            return self.fill(text) * count
        return {self.fill(key): self.fill(item) for key, item in value.items()}

    def differences(self, expected: Any, found: Any, *, unordered: bool = False, path: str = "") -> list[str]:
        """Where the two differ. A key that is null on either side counts as absent: AWS's null could not be told from it."""
        if isinstance(expected, dict) and set(expected) == {"$json"}:
            return self._json(expected["$json"], found, path)
        if not isinstance(expected, dict | list) or (isinstance(expected, dict) and set(expected) == {"$repeat"}):
            expected = self.fill(expected)
        if isinstance(expected, dict):
            expected = {self.fill(key): item for key, item in expected.items()}
            if not isinstance(found, dict):
                return [f"{path}: {found!r} is not an object"]
            keys = {key for side in (expected, found) for key, item in side.items() if item is not None}
            return [
                text
                for key in sorted(keys)
                for text in self.differences(expected.get(key), found.get(key), unordered=unordered, path=f"{path}.{key}")
            ]
        if isinstance(expected, list):
            if not isinstance(found, list) or len(expected) != len(found):
                return [f"{path}: {found!r} has not {len(expected)} items"]
            return self._items(expected, found, unordered, path)
        alike = self.alike(expected, found) if isinstance(expected, str) else None
        if alike is not None:
            return [] if alike else [f"{path}: {found!r} is not {expected}"]
        if isinstance(expected, str) and isinstance(found, str | int | float):
            return self._text(expected, found, path)
        same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
        return [] if same else [f"{path}: {found!r} instead of {expected!r}"]

    def _json(self, expected: Any, found: Any, path: str) -> list[str]:
        """A string that holds JSON, whose keys' order was recorded too."""
        try:
            parsed = json.loads(found)
        except (TypeError, ValueError):
            return [f"{path}: {found!r} holds no JSON"]
        if isinstance(parsed, dict) and isinstance(expected, dict) and list(parsed) != [self.fill(key) for key in expected]:
            return [f"{path}: keys {list(parsed)} instead of {list(expected)}"]
        return self.differences(expected, parsed, path=path)

    def _items(self, expected: list[Any], found: list[Any], unordered: bool, path: str) -> list[str]:
        known = dict(self.known)
        orders = itertools.permutations(found) if unordered and len(found) <= UNORDERED_MAX else iter([tuple(found)])
        first: list[str] | None = None
        for order in orders:
            self.known = dict(known)
            pairs = enumerate(zip(expected, order, strict=True))
            texts = [text for n, (one, other) in pairs for text in self.differences(one, other, path=f"{path}[{n}]")]
            if not texts:
                return []
            first = first or texts
        return first or []

    def _text(self, expected: str, found: Any, path: str) -> list[str]:
        if match := PLACEHOLDER.fullmatch(expected):
            return self._placeholder(match[1], found, path)
        parts = PLACEHOLDER.split(expected)
        pattern = "".join(re.escape(part) if index % 2 == 0 else ".+" for index, part in enumerate(parts))
        return [] if re.fullmatch(pattern, str(found), re.DOTALL) else [f"{path}: {found!r} instead of {expected!r}"]

    def _placeholder(self, name: str, found: Any, path: str) -> list[str]:
        kind, _, _ = name.partition(":")
        form = self._forms.get(kind, r".+")
        fits = isinstance(found, int | float) if form is None else isinstance(found, str) and re.fullmatch(form, found)
        if not fits or isinstance(found, bool):
            return [f"{path}: {found!r} is no {kind}"]
        taken = [other for other, value in self.known.items() if kind in ("uuid", "sha256") and value == found]
        if taken:
            return [f"{path}: <{name}> has the value of {taken}"]
        if kind not in self._changing:
            self.known[name] = found
        return []
