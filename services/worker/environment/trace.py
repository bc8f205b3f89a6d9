"""The trace header of an invocation: every one has it, whether its caller sent one or not, as on AWS."""

from __future__ import annotations

import random

from shared.domain import lineage

_PARTS = ("Root=", "Parent=", "Sampled=", lineage.FIELD)
_PLACES = {"Root": 0, "Parent": 1, "Sampled": 2, lineage.FIELD.rstrip("="): 4}
_OTHERS = 3


class TraceHeaders:
    """Of one function. Made anew for nearly every warm invocation, so what can be made once is."""

    __slots__ = ("_end",)

    def __init__(self, function_arn: str) -> None:
        self._end = f"Sampled=0;{lineage.begun(function_arn)}"

    def header(self, given: str | None, now_s: float) -> str:
        """What the caller sent, its Root above all, with what it left out; all of it new where it sent none."""
        if given and all(part in given for part in _PARTS):
            return given
        digits = f"{random.getrandbits(160):040x}"
        made = f"Root=1-{int(now_s):08x}-{digits[:24]};Parent={digits[24:]};{self._end}"
        if not given:
            return made
        fields = lineage.fields(given)
        sent = {field.partition("=")[0] for field in fields}
        added = [field for field in made.split(";") if field.partition("=")[0] not in sent]
        return ";".join(sorted([*fields, *added], key=_place))


def _place(field: str) -> int:
    """Root first and the lineage last, wherever the caller had them."""
    return _PLACES.get(field.partition("=")[0], _OTHERS)
