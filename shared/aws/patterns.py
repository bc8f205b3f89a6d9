"""The models' regular expressions, which are written for Java."""

from __future__ import annotations

import re

_SEPARATORS = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": _SEPARATORS,
    r"\p{Zs}": _SEPARATORS,
    r"\p{Print}": r"[\x20-\x7e]",
}
# What is written as pairs of surrogates in Java is one character here.
_SURROGATES = (r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff")


def compile_pattern(text: str) -> re.Pattern[str]:
    r"""A pattern of a model, for `fullmatch`. Raises re.error for one that Python has no words for.

    A hyphen after a class (`[\w-_]`) is a hyphen, as Java takes it."""
    translated = text.replace(*_SURROGATES)
    for java, python in _CLASSES.items():
        translated = translated.replace(java, python)
    unicode = translated != text
    translated = re.sub(r"(\\[wsd])-(?=[^\]])", r"\1\\-", translated)
    return re.compile(translated, 0 if unicode else re.ASCII)
