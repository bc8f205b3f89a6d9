"""The placeholders of one entry: what they stand for in a request, and whether an answer fits what was recorded."""

from __future__ import annotations

import itertools
import json
import re
import uuid
from typing import Any

from tests.conformance.facts import Fact
from tests.support import ROLE, zip_of

ACCOUNT, REGION, OTHER_REGION = "000000000000", "us-east-1", "ap-southeast-1"
CONCURRENCY_LIMIT, UNRESERVED_MIN = 1_000, 100
FUNCTIONS = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
ZIP = zip_of({"index.py": "def handler(event, context):\n    return event\n"})
OTHER_ZIP = zip_of({"index.py": "def handler(event, context):\n    return 'other'\n"})
ZIP_BYTES_MAX = 52_428_800
PLACEHOLDER = re.compile(r"<([a-z0-9-]+(?::\d+)?)>")
UNORDERED_MAX = 4

FORMS = {
    "epoch": None,
    "size": None,
    "number": None,
    "date": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,9})?(\+0000|Z)",
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "sha256": r"[A-Za-z0-9+/]{43}=|[0-9a-f]{64}",
    "url": r"https?://\S+",
    "function-url": r"https?://[a-z0-9]+\.lambda-url\.\S+/",
    "esm-arn": rf"{FUNCTIONS}:event-source-mapping:[0-9a-f-]{{36}}",
    "csc-arn": rf"{FUNCTIONS}:code-signing-config:csc-[a-z0-9]{{17}}",
    "csc": r"csc-[a-z0-9]{17}",
}
"""What a value of that kind looks like; None: a number."""
EVERY_TIME_ANOTHER = ("size", "date", "epoch", "url", "function-url", "number")
CHOICES = {"<the other one>": "<one of the two>", "<the other config>": "<one of the two configs>"}
"""An item of a second page, and what its first page had."""


class Values:
    """What is not known beforehand takes its value where it is first seen, and has it from then on."""

    def __init__(self, fact: Fact) -> None:
        name = f"f-{uuid.uuid4().hex[:10]}"
        if fact.id.endswith("arn-141-characters"):
            name = "a" * (141 - len(f"{FUNCTIONS}:function:"))
        layer = f"l-{uuid.uuid4().hex[:10]}"
        images = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        stream = (
            "kinesis:{}:{}:stream/stream" if "Kinesis" in fact.told else "dynamodb:{}:{}:table/t/stream/2026-01-01T00:00:00.000"
        )
        self.known: dict[str, Any] = {
            "fn": name,
            "fn:2": f"{name}-2",
            "fn-arn": f"{FUNCTIONS}:function:{name}",
            "fn-arn:2": f"{FUNCTIONS}:function:{name}-2",
            "role-arn": ROLE,
            # The entry is about a request that is too large although its package alone is not.
            "zip": bytes(ZIP_BYTES_MAX - 1) if "18.8 MB" in str(fact.request) else ZIP,
            "zip:2": OTHER_ZIP,
            "zip:3": zip_of({"third": "x"}),
            "account": ACCOUNT,
            "region": REGION,
            "other-region": OTHER_REGION,
            "partition": "aws",
            "alias": "alias1",
            "missing": "missing",
            "runtime": "nodejs14.x",
            "subnet": "subnet-0123",
            "subnet:2": "subnet-4567",
            "sg": "sg-0123",
            "sg:2": "sg-4567",
            "bad-subnet": "bad_subnet",
            "bad-sg": "bad_sg",
            "value": "value",
            "name": "name",
            "bucket": f"bucket-{layer}",
            "key": "some/key.zip",
            "layer": layer,
            "layer-arn": f"{FUNCTIONS}:layer:{layer}",
            "arn": f"arn:aws:lambda:{OTHER_REGION}:{ACCOUNT}:layer:l:1",
            "missing-csc-arn": f"{FUNCTIONS}:code-signing-config:csc-{'0' * 17}",
            "stream-arn": "arn:aws:" + stream.format(REGION, ACCOUNT),
            "queue-arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
            "repo": f"{images}/one",
            "repo:2": f"{images}/two",
            "user-arn": f"arn:aws:iam::{ACCOUNT}:user/someone",
            "limit": CONCURRENCY_LIMIT,
            "min-unreserved": UNRESERVED_MIN,
        }
        if "no mapping" in fact.told or "no such event source mapping" in fact.told:
            self.known["uuid"] = str(uuid.uuid4())
            self.known["esm-arn"] = f"{FUNCTIONS}:event-source-mapping:{self.known['uuid']}"

    def take(self, reply: Any, path: str, placeholder: str) -> None:
        """Remember a member of a reply (`A.B.0`) under a placeholder's name."""
        for step in path.split("."):
            reply = reply[int(step)] if step.isdigit() else reply[step]
        self.known[placeholder] = reply

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if (match := PLACEHOLDER.fullmatch(value)) and match[1] in self.known:
            return self.known[match[1]]
        found = self._computed(value)
        if found is not None:
            return found
        value = re.sub(r"<(\d+) times (\w)>", lambda match: match[2] * int(match[1]), value)
        return PLACEHOLDER.sub(lambda match: str(self.known.get(match[1], match[0])), value)

    def _computed(self, value: str) -> Any:
        if match := re.fullmatch(r"<(?:the )?(\d+) tags>", value):
            return {f"{number:02}_key": f"{number:02}_value" for number in range(int(match[1]))}
        if match := re.fullmatch(r"<(limit|before) \+ (\w+)>", value):
            return self.known[match[1]] + (int(match[2]) if match[2].isdigit() else self.known[match[2]])
        if match := re.fullmatch(r"<zip of (at least )?(\d+) bytes>", value):
            return bytes(int(match[2])) if match[1] else zip_sized(int(match[2]))
        if match := re.fullmatch(r"<zip that unpacks to (\d+) bytes>", value):
            return zip_of({"index.py": bytes(int(match[1]))})
        if value == "<six layer version ARNs>":
            return [f"{FUNCTIONS}:layer:{self.known['layer']}-{number}:1" for number in range(6)]
        if value == "<18.8 MB of text>":
            return "x" * 18_800_000
        return None

    def differences(self, expected: Any, found: Any, *, unordered: bool = False, path: str = "") -> list[str]:
        """Where the two differ. A key that is null on either side counts as absent: AWS's null could not be told from it."""
        expected = self.fill(expected)
        if isinstance(expected, dict) and set(expected) == {"$json"}:
            return self._json(expected["$json"], found, path)
        if isinstance(expected, dict):
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
        if isinstance(expected, str) and expected in CHOICES:
            return [] if found != self.known[CHOICES[expected].strip("<>")] else [f"{path}: the first page's item again"]
        if isinstance(expected, str) and expected in CHOICES.values():
            return [] if isinstance(found, dict) else [f"{path}: {found!r} is not an object"]
        if isinstance(expected, str) and isinstance(found, str | int | float):
            return self._text(expected, found, path)
        same = expected == found and isinstance(expected, bool) == isinstance(found, bool)
        return [] if same else [f"{path}: {found!r} instead of {expected!r}"]

    def _json(self, expected: dict[str, Any], found: Any, path: str) -> list[str]:
        """A string that holds JSON, whose keys' order was recorded too."""
        try:
            parsed = json.loads(found)
        except (TypeError, ValueError):
            return [f"{path}: {found!r} holds no JSON"]
        if isinstance(parsed, dict) and list(parsed) != list(expected):
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
        form = FORMS.get(kind, r".+")
        fits = isinstance(found, int | float) if form is None else isinstance(found, str) and re.fullmatch(form, found)
        if not fits or isinstance(found, bool):
            return [f"{path}: {found!r} is no {kind}"]
        taken = [other for other, value in self.known.items() if kind in ("uuid", "sha256") and value == found]
        if taken:
            return [f"{path}: <{name}> has the value of {taken}"]
        if kind not in EVERY_TIME_ANOTHER:
            self.known[name] = found
        return []


def zip_sized(size_bytes: int) -> bytes:
    """A package of exactly so many bytes: the archive's comment fills it up."""
    archive = zip_of({"index.py": ""})
    comment = size_bytes - len(archive)
    assert comment >= 0
    return archive[:-2] + comment.to_bytes(2, "little") + b"x" * comment
