"""Which tests show the behaviours that are not one call: those marked `covers("<name of the facts>", "<entry>", ...)`, read from the files."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


@functools.cache
def covered(name: str) -> Mapping[str, tuple[str, ...]]:
    """Entries of one service's facts, each with the files of its tests, as paths below tests/."""
    return {entry: tuple(sorted(files)) for (service, entry), files in _marks().items() if service == name}


@functools.cache
def _marks() -> Mapping[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text()
        if "mark.covers(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.covers":
                service, *entries = (ast.literal_eval(argument) for argument in node.args)
                for entry in entries:
                    found[service, entry].add(path.relative_to(TESTS).as_posix())
    return found
