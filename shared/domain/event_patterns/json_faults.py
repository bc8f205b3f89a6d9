"""Where a text stops being JSON, told as AWS's parser tells it. Pure."""

from __future__ import annotations

from shared.domain.event_patterns.tokens import PatternError, Token, Tokens

DEPTH_MAX = 1_000
_AT = "\n at "


def place_of_fault(text: str) -> str:
    """`[Source: ...; line: 1, column: 3]` of the first thing that is wrong; "" where the text is one JSON value or several."""
    tokens = Tokens(text)
    try:
        depth = 0
        while (token := tokens.next()) is not Token.END:
            depth += {Token.START_OBJECT: 1, Token.START_ARRAY: 1, Token.END_OBJECT: -1, Token.END_ARRAY: -1}.get(token, 0)
            if depth > DEPTH_MAX:
                raise tokens.error("nested too deeply")
    except PatternError as error:
        return str(error).rpartition(_AT)[2]
    return ""
