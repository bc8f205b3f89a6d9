from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.arns import (
    FunctionReference,
    Home,
    function_arn,
    merge_qualifier,
    parse_function_reference,
    require_reachable,
)
from shared.domain.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceNotFoundException,
    ValidationException,
)

ACCOUNT, REGION = "000000000000", "us-east-1"
HOME = Home(ACCOUNT, REGION)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("fn", FunctionReference("fn")),
        ("fn:1", FunctionReference("fn", "1")),
        ("fn:$LATEST", FunctionReference("fn", "$LATEST")),
        ("function:fn", FunctionReference("fn")),
        (f"{ACCOUNT}:function:fn", FunctionReference("fn", None, ACCOUNT)),
        (f"{ACCOUNT}:function:fn:live", FunctionReference("fn", "live", ACCOUNT)),
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fn", FunctionReference("fn", None, ACCOUNT, REGION)),
        (f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:fn:$LATEST", FunctionReference("fn", "$LATEST", ACCOUNT, REGION)),
        (f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:fn", FunctionReference("fn", None, ACCOUNT, "us-gov-west-1")),
    ],
)
def test_every_form_of_a_function_name_is_understood(text: str, reference: FunctionReference) -> None:
    assert parse_function_reference(text) == reference


@pytest.mark.parametrize(
    "text", ["", "a b", "invalid:function:name", "fn:", ":fn", "fn:$OTHER", "fn\n", "é", "a:b:c:d", "f" * 300, "fn:1:2"]
)
def test_what_is_no_function_name_is_refused(text: str) -> None:
    with pytest.raises(ValidationException, match="at 'functionName' failed to satisfy constraint"):
        parse_function_reference(text)


@given(st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True), st.none() | st.from_regex(r"[a-zA-Z_-]{1,20}", fullmatch=True))
def test_an_arn_that_was_made_is_read_back(name: str, qualifier: str | None) -> None:
    reference = parse_function_reference(function_arn(HOME, name, qualifier))
    assert reference == FunctionReference(name, qualifier, ACCOUNT, REGION)


@given(st.text(max_size=300))
def test_any_text_is_a_reference_or_a_validation_error(text: str) -> None:
    try:
        parse_function_reference(text)
    except ValidationException:
        pass


def test_other_regions_and_accounts_are_out_of_reach() -> None:
    require_reachable(FunctionReference("fn"), HOME)
    with pytest.raises(
        ResourceNotFoundException, match=r"Functions from 'eu-west-1' are not reachable in this region \('us-east-1'\)"
    ):
        require_reachable(FunctionReference("fn", None, ACCOUNT, "eu-west-1"), HOME)
    with pytest.raises(AccessDeniedException):
        require_reachable(FunctionReference("fn", None, "123456789012"), HOME)


def test_a_qualifier_may_be_repeated_but_not_contradicted() -> None:
    assert merge_qualifier(FunctionReference("fn"), None) is None
    assert merge_qualifier(FunctionReference("fn", "1"), None) == "1"
    assert merge_qualifier(FunctionReference("fn", "1"), "1") == "1"
    assert merge_qualifier(FunctionReference("fn"), "live") == "live"
    with pytest.raises(InvalidParameterValueException, match="derived qualifier"):
        merge_qualifier(FunctionReference("fn", "1"), "$LATEST")
