"""What a pattern may ask of one value, as tests of it. Pure.

Arguments have been checked by whoever compiles a pattern: each language of patterns refuses in words of its own. A value is a
JSON scalar: text, a number, or what else there is (true, false, null), which no operator but `anything_but` and `exists` takes.
Source: "Comparison operators for use in event patterns" in the EventBridge user guide.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

Test = Callable[[Any], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_IPV4 = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_IPV6 = re.compile(r"[0-9a-fA-F:]*:[0-9a-fA-F:]*")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def prefix(start: str, *, ignore_case: bool = False) -> Test:
    if ignore_case:
        folded = start.lower()
        return lambda value: isinstance(value, str) and value.lower().startswith(folded)
    return lambda value: isinstance(value, str) and value.startswith(start)


def suffix(end: str, *, ignore_case: bool = False) -> Test:
    if ignore_case:
        folded = end.lower()
        return lambda value: isinstance(value, str) and value.lower().endswith(folded)
    return lambda value: isinstance(value, str) and value.endswith(end)


def equals_ignore_case(wanted: str) -> Test:
    folded = wanted.lower()
    return lambda value: isinstance(value, str) and value.lower() == folded


def exists(value: Any) -> bool:
    """Of a value that is there: that one is not there is nothing that its value tells."""
    del value
    return True


def nothing(value: Any) -> bool:
    """What a single value that is compared for itself leaves over."""
    del value
    return False


def numeric(bottom: float = -math.inf, top: float = math.inf, *, open_bottom: bool = False, open_top: bool = False) -> Test:
    """Whether a number lies between two bounds, which belong to it unless they are open."""

    def test(value: Any) -> bool:
        if not is_number(value):
            return False
        above = value > bottom if open_bottom else value >= bottom
        return above and bool(value < top if open_top else value <= top)

    return test


def anything_but(excluded: Sequence[Test]) -> Test:
    """Any value, whatever its kind, that none of the tests takes."""
    if len(excluded) == 1:
        (one,) = excluded
        return lambda value: not one(value)
    return lambda value: not any(test(value) for test in excluded)


def one_of(values: Sequence[str | float]) -> Test:
    """Numbers are compared by what they are worth."""
    texts = frozenset(value for value in values if isinstance(value, str))
    numbers = tuple(value for value in values if not isinstance(value, str))

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return value in texts
        return is_number(value) and any(number <= value <= number for number in numbers)

    return test


class WildcardError(ValueError):
    """at: the character that is wrong, from zero."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.at = at


def wildcard(pattern: str) -> Test:
    """A star is any run of characters; a backslash makes a star, or a backslash, literal. Raises WildcardError."""
    parts = _between_stars(pattern)
    first, *middle, last = parts if len(parts) > 1 else (parts[0], "")

    def test(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        if len(parts) == 1:
            return value == first
        at, end = len(first), len(value) - len(last)
        if at > end or not value.startswith(first) or not value.endswith(last):
            return False
        for part in middle:
            # The earliest place is as good as any later one, so nothing is ever tried again.
            at = value.find(part, at, end)
            if at < 0:
                return False
            at += len(part)
        return True

    return test


def _between_stars(pattern: str) -> list[str]:
    parts, at = [""], 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            if pattern[at + 1 : at + 2] == "*":
                raise WildcardError("Consecutive wildcard characters", at)
            parts.append("")
        elif char == "\\":
            if pattern[at + 1 : at + 2] not in ("*", "\\"):
                raise WildcardError("Invalid escape character", at)
            at += 1
            parts[-1] += pattern[at]
        else:
            parts[-1] += char
        at += 1
    return parts


def cidr_network(text: str) -> Network:
    """Raises ValueError in AWS's words."""
    parts = text.split("/")
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    if len(parts) != 2:
        raise ValueError("Malformed CIDR, one '/' required")
    address, mask = parts
    if re.fullmatch(r"[+-]?[0-9]{1,9}", mask) is None:
        raise ValueError("Malformed CIDR, mask bits must be an integer")
    bits = int(mask)
    if bits < 0:
        raise ValueError("Malformed CIDR, mask bits must not be negative")
    if not looks_like_address(address):
        raise ValueError(f"Nonstandard IP address: {address}")
    found = address_of(address)
    if found is None:
        raise ValueError(f"Invalid IP address: {address}")
    if bits >= found.max_prefixlen:
        raise ValueError(f"IPv{found.version} mask bits must be < {found.max_prefixlen}")
    return ipaddress.ip_network(f"{found}/{bits}", strict=False)


def looks_like_address(text: str) -> bool:
    return _IPV4.fullmatch(text) is not None or _IPV6.fullmatch(text) is not None


def address_of(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def cidr(network: Network) -> Test:
    def test(value: Any) -> bool:
        found = address_of(value) if isinstance(value, str) and looks_like_address(value) else None
        return found is not None and found in network

    return test
