"""How much a pattern's wildcards may cost: AWS refuses one of which too many beginnings can match the same text at once. Pure.

A beginning of a wildcard is what of it stands before any of its characters: `*/a/*` begins with `*`, `*/`, `*/a` and so on. As
many of them, of all wildcards of one field, as some text matches are as many states as a matcher has to be in at once.
Source: "Wildcard matching complexity" in the user guide; what is counted: MachineComplexityEvaluator of aws/event-ruler; that
ten are allowed follows from patterns that AWS was reported to take and to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BEGINNINGS_MAX = 10
SETS_MAX = 5_000
"""Of beginnings that match together, before the search is given up: no pattern of a few wildcards has so many."""
STAR = None
"""A run of any characters, in a wildcard that was read."""
_QUOTE = '"'
Beginning = tuple[int, int]


def too_complex(wildcards: Iterable[str]) -> bool:
    """wildcards: of one field, each as the pattern has it and well-formed."""
    read = [_read(text) for text in sorted(set(wildcards))]
    pending = [frozenset(_with_empty_stars(read, ((place, 0) for place in range(len(read)))))]
    seen = set(pending)
    while pending:
        active = pending.pop()
        for character in {read[place][length] or "" for place, length in active if length < len(read[place])} | {""}:
            reached = frozenset(_with_empty_stars(read, _after(read, active, character)))
            if len(reached) > BEGINNINGS_MAX or len(seen) > SETS_MAX:
                return True
            if reached and reached not in seen:
                seen.add(reached)
                pending.append(reached)
    return False


def _after(read: Sequence[Sequence[str | None]], active: Iterable[Beginning], character: str) -> Iterable[Beginning]:
    """Which match the text with one character more. character: "" for one that none of them goes on with."""
    for place, length in active:
        if length and read[place][length - 1] is STAR:
            yield place, length
        if length < len(read[place]) and read[place][length] == character:
            yield place, length + 1


def _with_empty_stars(read: Sequence[Sequence[str | None]], beginnings: Iterable[Beginning]) -> Iterable[Beginning]:
    """What matches a text matches it with a star behind, too."""
    for place, length in beginnings:
        yield place, length
        if length < len(read[place]) and read[place][length] is STAR:
            yield place, length + 1


def _read(text: str) -> list[str | None]:
    """Character by character, between the quotes that belong to what is compared."""
    read: list[str | None] = [_QUOTE]
    escaped = False
    for character in text:
        if character == "\\" and not escaped:
            escaped = True
            continue
        read.append(STAR if character == "*" and not escaped else character)
        escaped = False
    return [*read, _QUOTE]
