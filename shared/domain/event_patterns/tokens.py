"""A JSON text token by token, with the places and the words in which AWS's own parser tells what is wrong with it. Pure.

AWS's error texts of event patterns quote the text and name line and column. Those are where its parser (Jackson) has read to
at that moment, so what is read when is part of the answer: after a field's name the beginning of its value has been read
already, and of a string nothing but its first quote until somebody asks for its text.
"""

from __future__ import annotations

import copy
import enum
import json
import re

QUOTED_CHARS_MAX = 500
_VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[\w$]*")
_SPACE = re.compile(r"[ \t\r\n]*")
_STRING_END = re.compile(r'[^"\\\x00-\x1f]*')
_ESCAPES = frozenset('"\\/bfnrt')


class Token(enum.Enum):
    START_OBJECT = enum.auto()
    END_OBJECT = enum.auto()
    START_ARRAY = enum.auto()
    END_ARRAY = enum.auto()
    FIELD_NAME = enum.auto()
    STRING = enum.auto()
    NUMBER = enum.auto()
    TRUE = enum.auto()
    FALSE = enum.auto()
    NULL = enum.auto()
    END = enum.auto()


_LITERALS = {"true": Token.TRUE, "false": Token.FALSE, "null": Token.NULL}
_BRACKETS = {"{": Token.START_OBJECT, "[": Token.START_ARRAY}


class PatternError(ValueError):
    """What is wrong with a pattern, in AWS's words, in most cases with the text and the place."""


class Tokens:
    """`next` goes on by one token; `text` and `name` are of that one."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._open: list[tuple[str, int]] = []
        """Brackets that are open, and where they are."""
        self._first = True
        """Nothing of the innermost open bracket has been read yet."""
        self._pending: Token | None = None
        self._string_at: int | None = None
        """Where the text of a string begins that nobody has asked for yet."""
        self._text = ""
        self.name = ""

    @property
    def text(self) -> str:
        """Of a string, a number, a literal or a bracket. Raises PatternError where a string is broken."""
        if self._string_at is not None:
            self._text = self._rest_of_string(" for a string value")
        return self._text

    def ahead(self) -> Tokens:
        """The same text from here, to look what comes without going on."""
        copied = copy.copy(self)
        copied._open = list(self._open)
        return copied

    def error(self, reason: str, at: int | None = None) -> PatternError:
        return PatternError(f"{reason}\n at {self._place(self._at if at is None else at)}")

    def next(self) -> Token:
        if self._pending is not None:
            token, self._pending = self._pending, None
            return token
        if self._string_at is not None:
            self._rest_of_string(" for a string value")
        self._skip_space()
        if self._at == len(self._source):
            return self._end()
        if not self._open:
            return self._value()
        bracket, _ = self._open[-1]
        char = self._source[self._at]
        if char in "}]":
            return self._close(char)
        if not self._first:
            self._comma(char, bracket)
        self._first = False
        return self._field() if bracket == "{" else self._value()

    def _field(self) -> Token:
        self._name()
        self._skip_space()
        if self._source[self._at : self._at + 1] != ":":
            if self._at == len(self._source):
                raise self.error("Unexpected end-of-input within/between Object entries")
            raise self._unexpected("was expecting a colon to separate field name and value")
        self._at += 1
        self._skip_space()
        if self._at == len(self._source):
            raise self.error("Unexpected end-of-input within/between Object entries")
        self._pending = self._value()
        return Token.FIELD_NAME

    def _name(self) -> None:
        if self._source[self._at] != '"':
            raise self._unexpected("was expecting double-quote to start field name")
        self._at += 1
        self._string_at = self._at
        self.name = self._rest_of_string(None)

    def _comma(self, char: str, bracket: str) -> None:
        if char != ",":
            kind = "Object" if bracket == "{" else "Array"
            raise self._unexpected(f"was expecting comma to separate {kind} entries")
        self._at += 1
        self._skip_space()
        if self._at == len(self._source):
            self._end()

    def _value(self) -> Token:
        char = self._source[self._at]
        if char == '"':
            self._at += 1
            self._string_at = self._at
            return Token.STRING
        if char in _BRACKETS:
            self._open.append((char, self._at))
            self._first = True
            self._at += 1
            self._text = char
            return _BRACKETS[char]
        if char == "-" or "0" <= char <= "9":
            return self._number()
        word = _WORD.match(self._source, self._at)
        found = word[0] if word is not None else ""
        if found in _LITERALS:
            self._at += len(found)
            self._text = found
            return _LITERALS[found]
        if not found:
            raise self._unexpected(f"expected a valid value {_VALUES}")
        self._at += len(found)
        if found in ("NaN", "Infinity"):
            raise self.error(f"Non-standard token '{found}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow")
        raise self.error(f"Unrecognized token '{found}': was expecting {_VALUES}")

    def _number(self) -> Token:
        found = _NUMBER.match(self._source, self._at)
        if found is None:
            self._at += 1
            char = self._source[self._at : self._at + 1]
            described = _described(char) if char else "end-of-input"
            reason = f"Unexpected character ({described}) in numeric value: No digit following minus sign"
            raise self.error(reason)
        after = self._source[found.end() : found.end() + 1]
        if found[0] in ("0", "-0") and "0" <= after <= "9":
            self._at = found.end()
            raise self.error("Invalid numeric value: Leading zeroes not allowed")
        self._at = found.end()
        if after and (after in ".+-" or after.isalnum()):
            raise self._unexpected("Expected space separating root-level values" if not self._open else "expected digit")
        self._text = found[0]
        return Token.NUMBER

    def _close(self, char: str) -> Token:
        bracket, at = self._open[-1]
        expected = "}" if bracket == "{" else "]"
        if char != expected:
            kind = "Object" if bracket == "{" else "Array"
            raise self.error(
                f"Unexpected close marker '{char}': expected '{expected}' (for {kind} starting at {self._place(at)})",
            )
        self._open.pop()
        self._first = False
        self._at += 1
        self._text = char
        return Token.END_OBJECT if char == "}" else Token.END_ARRAY

    def _end(self) -> Token:
        if not self._open:
            return Token.END
        bracket, at = self._open[-1]
        kind = "Object" if bracket == "{" else "Array"
        raise self.error(
            f"Unexpected end-of-input: expected close marker for {kind} (start marker at {self._place(at)})",
        )

    def _rest_of_string(self, of: str | None) -> str:
        """of: what the string is, None for a field's name."""
        begin = self._string_at
        assert begin is not None
        self._string_at = None
        at = begin
        while True:
            plain = _STRING_END.match(self._source, at)
            at = plain.end() if plain is not None else at
            char = self._source[at : at + 1]
            if char == '"':
                self._at = at + 1
                return str(json.loads(f'"{self._source[begin:at]}"'))
            if char == "\\":
                at = self._escape(at + 1)
            elif char:
                self._at = at
                where = "string value" if of is not None else "name"
                escaped = f"has to be escaped using backslash to be included in {where}"
                raise self.error(f"Illegal unquoted character ({_described(char)}): {escaped}")
            else:
                self._at = at
                missing = f": was expecting closing quote{of}" if of is not None else " in field name"
                raise self.error(f"Unexpected end-of-input{missing}")

    def _escape(self, at: int) -> int:
        """at: of what follows the backslash. -> what follows the escape."""
        char = self._source[at : at + 1]
        if char in _ESCAPES and char:
            return at + 1
        if char == "u":
            for place in range(at + 1, at + 5):
                digit = self._source[place : place + 1]
                if not digit:
                    break
                if digit not in "0123456789abcdefABCDEF":
                    self._at = place
                    raise self._unexpected("expected a hex-digit for character escape sequence")
            else:
                return at + 5
            char = ""
        self._at = at + 1 if char else len(self._source)
        if not char:
            raise self.error("Unexpected end-of-input in character escape sequence")
        raise self.error(f"Unrecognized character escape {_described(char)}")

    def _skip_space(self) -> None:
        found = _SPACE.match(self._source, self._at)
        self._at = found.end() if found is not None else self._at

    def _unexpected(self, comment: str) -> PatternError:
        return self.error(f"Unexpected character ({_described(self._source[self._at])}): {comment}")

    def _place(self, at: int) -> str:
        """at: as many characters have been read. Columns count from one, in UTF-16 as Java does."""
        line = self._source.count("\n", 0, at) + 1
        begin = self._source.rfind("\n", 0, at) + 1
        column = len(self._source[begin:at].encode("utf-16-le", "surrogatepass")) // 2 + 1
        shown = "".join(_shown(char) for char in self._source[:QUOTED_CHARS_MAX])
        cut = len(self._source) - QUOTED_CHARS_MAX
        truncated = f"[truncated {cut} chars]" if cut > 0 else ""
        return f'[Source: (String)"{shown}"{truncated}; line: {line}, column: {column}]'


def _shown(char: str) -> str:
    control = char < " " or "\x7f" <= char <= "\x9f"
    return f"\\u{ord(char):04X}" if control and char not in "\r\n" else char


def _described(char: str) -> str:
    code = ord(char)
    if code < 32:
        return f"(CTRL-CHAR, code {code})"
    return f"'{char}' (code {code} / 0x{code:x})" if code > 255 else f"'{char}' (code {code})"
