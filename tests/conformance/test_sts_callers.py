"""What AWS's STS says of callers of all kinds, and where it is found: the entries of sts.yaml that are not one call."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest
from botocore.config import Config

from shared.aws.signatures import session_tokens
from tests.conformance.control_plane import KEY, REGION, SECRET, ControlPlane
from tests.conformance.facts import load
from tests.conformance.services.service import ACCOUNT
from tests.conftest import CLUSTER_SECRET


def client(endpoint: str, **credentials: str) -> Any:
    return boto3.session.Session().client(
        "sts",
        endpoint_url=endpoint,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        **{"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, **credentials},
    )


@pytest.mark.covers("sts", "get-caller-identity.shapes")
def test_callers_have_the_shapes_that_are_documented(control_plane: ControlPlane) -> None:
    shapes = next(fact for fact in load("sts") if fact.id == "get-caller-identity.shapes").raw["then"]
    root = client(control_plane.endpoint).get_caller_identity()
    for name, form in shapes["root"].items():
        assert root[name] == form.replace("<account>", ACCOUNT).replace("<partition>", "aws")
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/session"
    issued = session_tokens.issue(CLUSTER_SECRET.encode(), arn, int(time.time()) + 60)
    found = client(
        control_plane.endpoint,
        aws_access_key_id=issued.access_key_id,
        aws_secret_access_key=issued.secret_access_key,
        aws_session_token=issued.session_token,
    ).get_caller_identity()
    assert (found["Arn"], found["Account"]) == (arn, ACCOUNT)
    role_id, colon, session = found["UserId"].partition(":")
    assert role_id.startswith("AROA")
    assert (colon, session) == (":", "session")


@pytest.mark.covers("sts", "sts.endpoints")
@pytest.mark.parametrize("host", ["sts.amazonaws.com", f"sts.{REGION}.amazonaws.com"])
def test_its_own_host_names_lead_to_it(control_plane: ControlPlane, host: str) -> None:
    """The global and the regional name, as a DNS of one's own may lead them here; what is signed says it in any case."""
    sts = client(control_plane.endpoint)
    sts.meta.events.register("before-sign.sts", lambda request, **_: request.headers.add_header("Host", host))
    assert sts.get_caller_identity()["Account"] == ACCOUNT
