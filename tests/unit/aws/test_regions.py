"""Which regions there are, and which of them a cluster serves."""

from __future__ import annotations

import boto3
import pytest
from pydantic import ValidationError

from services.frontend.edge.homes import Homes
from shared.aws.regions import aws_regions
from shared.aws.signatures.claims import region_named
from shared.domain.arns import Home
from shared.settings import Settings


def test_the_regions_are_those_that_boto3_knows() -> None:
    found = aws_regions()
    assert set(boto3.session.Session().get_available_regions("lambda")) <= set(found)
    assert len(found) >= 30
    assert "aws-global" not in found
    assert not [region for region in found if region.startswith(("cn-", "us-gov-", "us-iso"))]


def test_all_of_awss_regions_are_served_unless_settings_name_some(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {region.decode() for region in Homes.of(Settings()).regions} == set(aws_regions())
    monkeypatch.setenv("LAMBDAD_REGIONS", '["eu-west-1", "eu-central-1"]')
    monkeypatch.setenv("LAMBDAD_REGION", "zz-test-1")
    monkeypatch.setenv("LAMBDAD_ACCOUNT_ID", "123456789012")
    homes = Homes.of(Settings())
    assert homes.regions == {b"zz-test-1", b"eu-west-1", b"eu-central-1"}
    assert homes.default == Home("123456789012", "zz-test-1")
    assert homes.named(b"eu-west-1") == Home("123456789012", "eu-west-1")
    assert homes.named(b"us-east-1") == homes.default
    assert set(homes.all) == {Home("123456789012", region.decode()) for region in homes.regions}


@pytest.mark.parametrize("regions", ['["nowhere"]', '["us-east-1\\n"]', '["EU-WEST-1"]', '[""]'])
def test_what_is_no_region_is_none_to_serve(monkeypatch: pytest.MonkeyPatch, regions: str) -> None:
    monkeypatch.setenv("LAMBDAD_REGIONS", regions)
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("authorization", "query", "region"),
    [
        (
            b"AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0",
            b"",
            b"eu-west-1",
        ),
        (b"", b"X-Amz-Algorithm=x&X-Amz-Credential=AK%2F20260101%2Feu-west-1%2Flambda%2Faws4_request&a=b", b"eu-west-1"),
        (b"", b"a=b", b""),
        (b"Bearer x", b"", b""),
        (b"AWS4-HMAC-SHA256 Credential=AK/20260101/a b/lambda/aws4_request", b"", b""),
        (b"AWS4-HMAC-SHA256 Credential=AK/20260101/../lambda/aws4_request", b"", b""),
    ],
)
def test_a_region_is_read_where_nobody_checks_the_signature(authorization: bytes, query: bytes, region: bytes) -> None:
    assert region_named(authorization, query) == region
