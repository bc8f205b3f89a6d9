"""A pattern's text to what it asks of an event, refused in AWS's words where it is none. Pure.

A pattern is compiled to branches of which one has to hold: each `$or` multiplies them. A branch is a condition for each of its
paths, all of which have to hold. Source: "Amazon EventBridge event patterns" in the user guide, and the language's reference
implementation (aws/event-ruler on GitHub) for what is checked in which order.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import msgspec

from shared.domain.event_patterns import operators
from shared.domain.event_patterns.operators import Test
from shared.domain.event_patterns.tokens import PatternError, Token, Tokens
from shared.domain.event_patterns.values import Literal, Value

NUMBER_MAX = 5e9
COMBINATIONS_MAX = 1_000
DEPTH_MAX = 100
RESERVED = frozenset(
    {
        *("exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr"),
        *("=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case"),
        *("date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"),
        *("ip-address-in-range", "ip-address-not-in-range"),
    },
)
"""Names that make an array of objects after `$or` operators of a field of that name, rather than branches."""
_ONE_KEY = "Only one key allowed in match expression"
_TOO_MANY = "Too many elements in numeric expression"
_LITERALS = {Token.TRUE: Literal.TRUE, Token.FALSE: Literal.FALSE, Token.NULL: Literal.NULL}
_BUT_NOT_A_STRING = {
    "equals-ignore-case": "Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.",
    "wildcard": "wildcard match pattern must be a string",
    "prefix": "prefix/suffix match pattern must be a string",
    "suffix": "prefix/suffix match pattern must be a string",
}


class Language(msgspec.Struct, frozen=True):
    """Which operators there are besides those that all have. inside_anything_but: operators, each with what is said of an
    argument that is no text; listed: whether those take a list, too. wildcards, ignoring_case: of texts, and of how they begin
    or end."""

    inside_anything_but: Mapping[str, str]
    listed: bool = True
    wildcards: bool = True
    ignoring_case: bool = True


EVENT_PATTERNS = Language(_BUT_NOT_A_STRING)
FILTER_POLICIES = Language(
    {"prefix": "prefix match pattern must be a string"}, listed=False, wildcards=False, ignoring_case=False
)
"""Of SNS's subscriptions: recorded from AWS, where they stand on an older version of the same."""


class Condition(msgspec.Struct, frozen=True):
    """What a branch asks of one path: a value that is in `exact` or passes one of the tests, or none where `absent`.
    wildcards: the texts of those that are among the tests."""

    exact: frozenset[Value]
    tests: tuple[Test, ...]
    absent: bool
    wildcards: frozenset[str]

    def holds(self, values: list[Value]) -> bool:
        exact = self.exact
        for value in values:
            if value in exact:
                return True
            for test in self.tests:
                if test(value):
                    return True
        return False


Branch = dict[str, Condition]
ReadNumber = Callable[[str], float]


def read_number(text: str) -> float:
    """Whole numbers exactly: they may be longer than a float's precision, as those of accounts are."""
    return int(text) if text.lstrip("-").isdigit() else float(text)


def compile_pattern(text: str, number: ReadNumber = read_number, language: Language = EVENT_PATTERNS) -> list[Branch]:
    """number: what a number of the pattern is compared as. Raises PatternError."""
    return _Compiler(text, number, language).branches()


class _Compiler:
    def __init__(self, text: str, number: ReadNumber, language: Language) -> None:
        self._text = text
        self._number = number
        self._language = language
        self._tokens = Tokens(text)
        self._wildcards: set[str] = set()
        """Of the condition that is being read."""

    def branches(self) -> list[Branch]:
        if self._tokens.next() is not Token.START_OBJECT:
            raise self._tokens.error("Filter is not an object")
        return self._object("", [{}], 1)

    def _object(self, path: str, branches: list[Branch], depth: int) -> list[Branch]:
        """path: ends in a dot, except the whole's, which is empty."""
        tokens = self._tokens
        if depth > DEPTH_MAX:
            raise PatternError(f"Document nesting depth ({depth}) exceeds the maximum allowed ({DEPTH_MAX})")
        empty = True
        while tokens.next() is not Token.END_OBJECT:
            empty = False
            name = tokens.name
            token = tokens.next()
            if name == "$or" and token is Token.START_ARRAY and _is_or(tokens):
                branches = self._or(path, branches, depth)
            elif token is Token.START_OBJECT:
                branches = self._object(f"{path}{name}.", branches, depth + 1)
            elif token is Token.START_ARRAY:
                condition = self._condition()
                for branch in branches:
                    branch[path + name] = condition
            else:
                raise tokens.error(f'"{name}" must be an object or an array')
        if empty:
            raise tokens.error("Empty objects are not allowed")
        return branches

    def _or(self, path: str, branches: list[Branch], depth: int) -> list[Branch]:
        taken: list[Branch] = []
        while self._tokens.next() is not Token.END_ARRAY:
            taken += self._object(path, [dict(branch) for branch in branches], depth + 1)
            if len(taken) > COMBINATIONS_MAX:
                raise self._tokens.error(f"Rule is too complex - $or makes more than {COMBINATIONS_MAX} combinations")
        return taken

    def _condition(self) -> Condition:
        tokens = self._tokens
        exact: set[Value] = set()
        tests: list[Test] = []
        absent = False
        self._wildcards.clear()
        while (token := tokens.next()) is not Token.END_ARRAY:
            if token is Token.START_OBJECT:
                test = self._match_expression(exact)
                absent = absent or test is None
                if test is not None:
                    tests.append(test)
            elif token is Token.STRING:
                exact.add(tokens.text)
                address = operators.address_of(tokens.text) if operators.looks_like_address(tokens.text) else None
                if address is not None and address.version == 6:
                    # However it is spelled.
                    tests.append(operators.cidr(ipaddress.ip_network(address)))
            elif token is Token.NUMBER:
                exact.add(self._number(tokens.text))
            elif token in _LITERALS:
                exact.add(_LITERALS[token])
            else:
                raise tokens.error("Match value must be String, number, true, false, or null")
        if not exact and not tests and not absent:
            raise tokens.error("Empty arrays are not allowed")
        return Condition(frozenset(exact), tuple(tests), absent, frozenset(self._wildcards))

    def _match_expression(self, exact: set[Value]) -> Test | None:
        """None for the absence of any value. exact: takes in what is one value and no more."""
        tokens = self._tokens
        if tokens.next() is not Token.FIELD_NAME:
            raise tokens.error("Match expression name not found")
        name = tokens.name
        if name == "exactly":
            exact.add(self._string(tokens.next(), "exact match pattern must be a string"))
            self._close(_ONE_KEY)
            return operators.nothing
        if name == "exists":
            token = tokens.next()
            if token not in (Token.TRUE, Token.FALSE):
                raise tokens.error("exists match pattern must be either true or false.")
            self._close(_ONE_KEY)
            return operators.exists if token is Token.TRUE else None
        if name == "numeric":
            if tokens.next() is not Token.START_ARRAY:
                raise tokens.error("Value of numeric must be an array.")
            test = self._numeric()
            self._close(_TOO_MANY)
            return test
        if name == "anything-but":
            return self._anything_but()
        return self._on_text(name)

    def _on_text(self, name: str) -> Test:
        tokens = self._tokens
        if name in ("prefix", "suffix"):
            token = tokens.next()
            ignore_case = token is Token.START_OBJECT and self._language.ignoring_case
            text = self._ignoring_case(name) if ignore_case else self._string(token, f"{name} match pattern must be a string")
            make = operators.prefix if name == "prefix" else operators.suffix
            test = make(text, ignore_case=ignore_case)
        elif name == "equals-ignore-case":
            test = operators.equals_ignore_case(self._string(tokens.next(), f"{name} match pattern must be a string"))
        elif name == "wildcard" and self._language.wildcards:
            test = self._wildcard(self._string(tokens.next(), "wildcard match pattern must be a string"))
        elif name == "cidr":
            text = self._string(tokens.next(), "prefix match pattern must be a string")
            try:
                test = operators.cidr(operators.cidr_network(text))
            except ValueError as error:
                raise PatternError(str(error)) from None
        else:
            raise tokens.error(f"Unrecognized match type {name}")
        self._close(_ONE_KEY)
        return test

    def _ignoring_case(self, name: str) -> str:
        tokens = self._tokens
        if tokens.next() is not Token.FIELD_NAME:
            raise tokens.error(f"{name.capitalize()} expression name not found")
        if tokens.name != "equals-ignore-case":
            raise tokens.error(f"Unsupported {name} pattern: {tokens.name}")
        text = self._string(tokens.next(), "equals-ignore-case match pattern must be a string")
        self._close(_ONE_KEY)
        return text

    def _wildcard(self, text: str) -> Test:
        self._wildcards.add(text)
        try:
            return operators.wildcard(text)
        except operators.WildcardError as error:
            # Counted in bytes, and behind the quote that the text is compared with.
            at = len(text[: error.at].encode("utf-8", "surrogatepass")) + 1
            raise self._tokens.error(f"{error.reason} at pos {at}") from None

    def _anything_but(self) -> Test:
        tokens = self._tokens
        token = tokens.next()
        name = ""
        if token is Token.START_OBJECT:
            if tokens.next() is not Token.FIELD_NAME:
                raise tokens.error("Anything-But expression name not found")
            name = tokens.name
            if name not in self._language.inside_anything_but:
                raise tokens.error(f"Unsupported anything-but pattern: {name}")
            token = tokens.next()
            if token is not Token.STRING and not self._language.listed:
                raise tokens.error(self._language.inside_anything_but[name])
        if token not in (Token.START_ARRAY, Token.STRING, Token.NUMBER):
            raise tokens.error("Value of anything-but must be an array or single string/number value.")
        excluded = self._values_but(name) if token is Token.START_ARRAY else [self._value_but(token, name)]
        self._close(_TOO_MANY)
        if not name:
            return operators.anything_but([operators.one_of(excluded)])
        self._close(_TOO_MANY)
        return operators.anything_but([self._excluding(name, str(text)) for text in excluded])

    def _values_but(self, name: str) -> list[str | float]:
        tokens = self._tokens
        values: list[str | float] = []
        try:
            while (token := tokens.next()) is not Token.END_ARRAY:
                if not name and token not in (Token.STRING, Token.NUMBER):
                    raise tokens.error("Inside anything but list, start|null|boolean is not supported.")
                values.append(self._value_but(token, name))
        except PatternError as error:
            # As in AWS's texts, which say where it is twice.
            raise tokens.error(str(error)) from None
        kinds = {isinstance(value, str) for value in values}
        if not name and len(kinds) != 1:
            raise tokens.error(
                "Inside anything but list, either all values are number or string, mixed type is not supported",
            )
        return values

    def _value_but(self, token: Token, name: str) -> str | float:
        tokens = self._tokens
        if token is Token.NUMBER and not name:
            try:
                return _bounded(tokens.text)
            except ValueError as error:
                raise PatternError(str(error)) from None
        if name and token is not Token.STRING:
            raise tokens.error(self._language.inside_anything_but[name])
        text = tokens.text
        if name in ("prefix", "suffix") and not text:
            raise tokens.error("Null prefix/suffix not allowed")
        return text

    def _excluding(self, name: str, text: str) -> Test:
        if name == "prefix":
            return operators.prefix(text)
        if name == "suffix":
            return operators.suffix(text)
        return self._wildcard(text) if name == "wildcard" else operators.equals_ignore_case(text)

    def _numeric(self) -> Test:
        tokens = self._tokens
        if tokens.next() is not Token.STRING:
            raise tokens.error(f"Invalid member in numeric match: {tokens.text}")
        name = tokens.text
        token = tokens.next()
        if name not in ("=", "<", "<=", ">", ">="):
            raise tokens.error(f"Unrecognized numeric range operator: {name}")
        if token is not Token.NUMBER:
            raise tokens.error(f"Value of {'equals' if name == '=' else name} must be numeric")
        bound = tokens.text
        token = tokens.next()
        try:
            if token is not Token.END_ARRAY and name in (">", ">="):
                return self._range(token, bound, open_bottom=name == ">")
            if token is not Token.END_ARRAY:
                raise tokens.error(_TOO_MANY)
            number = _bounded(bound)
        except PatternError:
            raise
        except ValueError as error:
            raise tokens.error(str(error)) from None
        if name == "=":
            return operators.numeric(number, number)
        if name in (">", ">="):
            return operators.numeric(bottom=number, open_bottom=name == ">")
        return operators.numeric(top=number, open_top=name == "<")

    def _range(self, token: Token, bottom: str, *, open_bottom: bool) -> Test:
        tokens = self._tokens
        if token is not Token.STRING:
            raise tokens.error(f"Bad value in numeric range: {tokens.text}")
        name = tokens.text
        if name not in ("<", "<="):
            raise tokens.error(f"Bad numeric range operator: {name}")
        if tokens.next() is not Token.NUMBER:
            raise tokens.error(f"Value of {name} must be numeric")
        top = tokens.text
        if tokens.next() is not Token.END_ARRAY:
            raise tokens.error("Too many terms in numeric range expression")
        low, high = _bounded(bottom), _bounded(top)
        if low >= high:
            raise ValueError("Bottom must be less than top")
        return operators.numeric(low, high, open_bottom=open_bottom, open_top=name == "<")

    def _string(self, token: Token, otherwise: str) -> str:
        if token is not Token.STRING:
            raise self._tokens.error(otherwise)
        return self._tokens.text

    def _close(self, otherwise: str) -> None:
        if self._tokens.next() is not Token.END_OBJECT:
            raise self._tokens.error(otherwise)


def _bounded(text: str) -> float:
    """Raises ValueError."""
    number = read_number(text)
    if not -NUMBER_MAX <= number <= NUMBER_MAX:
        raise ValueError("Value must be between -5.0E9 and 5.0E9, inclusive")
    return number


def _is_or(tokens: Tokens) -> bool:
    """Whether the array that begins here is one of branches: at least two objects, none empty, none with an operator's name."""
    ahead = tokens.ahead()
    try:
        elements = _elements(ahead)
    except PatternError:
        return False
    return len(elements) >= 2 and all(names and not RESERVED & names for names in elements)


def _elements(ahead: Tokens) -> list[set[str]]:
    """The names in each of an array's objects; empty for an element that is none."""
    elements: list[set[str]] = []
    depth = 0
    while True:
        token = ahead.next()
        if token is Token.FIELD_NAME and depth == 1:
            elements[-1].add(ahead.name)
        elif depth == 0 and token is Token.END_ARRAY:
            return elements
        elif depth == 0:
            elements.append(set())
        if token in (Token.START_OBJECT, Token.START_ARRAY):
            depth += 1
        elif token in (Token.END_OBJECT, Token.END_ARRAY):
            depth -= 1
