"""ARNs and the ways in which a client may name a function.

`FunctionName` may be a name, a partial ARN (`account:function:name`), or a full ARN, each with or without a qualifier. The
patterns are the service model's, so what parses here is what AWS accepts.
"""

from __future__ import annotations

import functools
import re

import msgspec

from shared.domain.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ValidationException,
)

PARTITION = "aws"
LATEST = "$LATEST"
FUNCTION_NAME_CHARACTERS_MAX = 64
REFERENCE_CHARACTERS_MAX = 256
"""Longer than any form that the service model lets through (170 characters for Invoke)."""

_PATTERN_TEXT = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_REFERENCE = re.compile(
    r"(?:arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?"
    r"(?P<name>[a-zA-Z0-9\-_.]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9\-_]+))?"
)


class Home(msgspec.Struct, frozen=True):
    """The account and the region in which something is. The same name in another home is another thing."""

    account_id: str
    region: str


class FunctionReference(msgspec.Struct, frozen=True):
    """A function as a client named it. qualifier, account, region: None where the client left them out."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None


def parse_function_reference(text: str) -> FunctionReference:
    """Any accepted form of FunctionName. Raises ValidationException when it is none of them."""
    if len(text) > REFERENCE_CHARACTERS_MAX:
        raise _invalid(text)
    return _parse(text)


@functools.lru_cache(maxsize=8_192)
def _parse(text: str) -> FunctionReference:
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise _invalid(text)
    return FunctionReference(match["name"], match["qualifier"], match["account"], match["region"])


def _invalid(text: str) -> ValidationException:
    return ValidationException(
        f"1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: "
        f"Member must satisfy regular expression pattern: {_PATTERN_TEXT}"
    )


def require_reachable(reference: FunctionReference, home: Home) -> None:
    """Refuse a function of another region (ResourceNotFoundException) or another account (AccessDeniedException)."""
    if reference.region is not None and reference.region != home.region:
        raise ResourceNotFoundException(
            f"Functions from '{reference.region}' are not reachable in this region ('{home.region}')"
        )
    if reference.account is not None and reference.account != home.account_id:
        raise AccessDeniedException


def merge_qualifier(reference: FunctionReference, qualifier: str | None) -> str | None:
    """The qualifier meant by a FunctionName and a Qualifier parameter; they may repeat but not contradict each other.

    Raises InvalidParameterValueException when they do.
    """
    if qualifier is None:
        return reference.qualifier
    if reference.qualifier is not None and reference.qualifier != qualifier:
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return qualifier


def function_arn(home: Home, name: str, qualifier: str | None = None) -> str:
    """ARN of a function, with `:qualifier` when one is given."""
    arn = f"arn:{PARTITION}:lambda:{home.region}:{home.account_id}:function:{name}"
    return arn if qualifier is None else f"{arn}:{qualifier}"


def home_of(arn: str) -> Home:
    """Where a whole ARN says that its resource is."""
    _, _, _, region, account_id, _ = arn.split(":", 5)
    return Home(account_id, region)


def mapping_arn(home: Home, uuid: str) -> str:
    return f"arn:{PARTITION}:lambda:{home.region}:{home.account_id}:event-source-mapping:{uuid}"


def code_signing_arn(home: Home, config_id: str) -> str:
    return f"arn:{PARTITION}:lambda:{home.region}:{home.account_id}:code-signing-config:{config_id}"


def layer_arn(home: Home, name: str, number: int | None = None) -> str:
    """ARN of a layer, or of one of its versions when a number is given."""
    arn = f"arn:{PARTITION}:lambda:{home.region}:{home.account_id}:layer:{name}"
    return arn if number is None else f"{arn}:{number}"


class LayerReference(msgspec.Struct, frozen=True):
    """A layer as a client named it. number, account, region: None where the client left them out."""

    name: str
    number: int | None = None
    account: str | None = None
    region: str | None = None


def parse_layer_reference(text: str) -> LayerReference:
    """A layer's name, its ARN, or a layer version's ARN, each as the service model's pattern lets it through."""
    parts = text.split(":")
    if len(parts) < 7:
        return LayerReference(text)
    number = int(parts[7]) if len(parts) > 7 else None
    return LayerReference(parts[6], number, account=parts[4], region=parts[3])


def is_version(qualifier: str) -> bool:
    """Whether a qualifier can only be a published version's number; anything else but $LATEST is an alias."""
    return qualifier.isascii() and qualifier.isdigit()
