"""The options that a function's JVM is started with, as AWS's runtimes start theirs, unless the function has others."""

from __future__ import annotations

import re
from collections.abc import Iterable

_HEAP_SHARE = 0.85
"""Of a function's memory; the rest is for what a JVM has besides. Source: the command lines of AWS's runtimes, as reported."""
READ_AT_START = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "MALLOC_ARENA_MAX", "LC_ALL", "LC_CTYPE")
"""Variables that a JVM reads while it starts: one that was prepared has started without them."""
OPTIONS_IN = READ_AT_START[:3]
_GIVEN = (
    ("-XX:MaxHeapSize", r"-Xmx|-XX:(MaxHeapSize|MaxRAMPercentage|MaxRAM)="),
    ("-XX:+UseSerialGC", r"-XX:\+Use\w+GC"),
    ("-XX:TieredStopAtLevel", r"-XX:(TieredStopAtLevel=|[+-]TieredCompilation|-TieredStopAtLevel)|-Xint|-Xcomp"),
    ("-XX:SharedArchiveFile", r"-Xshare:|-XX:SharedArchiveFile=|-XX:ArchiveClassesAtExit="),
)
"""What an option begins with, and what the function's own look like in whose place it would be."""


def heap(memory_mb: int) -> str:
    return f"-XX:MaxHeapSize={int(memory_mb * 1024 * _HEAP_SHARE)}K"


def without_those_of(own: str, options: Iterable[str]) -> list[str]:
    """The options but for what the function's own ones say: a JVM refuses two collectors, and of two sizes takes the later."""
    overridden = [start for start, pattern in _GIVEN if re.search(rf"(^|\s)({pattern})", own)]
    return [option for option in options if not option.startswith(tuple(overridden))] if overridden else list(options)
