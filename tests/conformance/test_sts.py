"""What AWS's STS was seen or said to answer: every entry of sts.yaml is run over HTTP, or is in sts_differs.yaml with its reason."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from shared.aws.signatures import session_tokens
from tests.conformance.control_plane import KEY, REGION, SECRET, ControlPlane
from tests.conformance.facts import HERE
from tests.conftest import CLUSTER_SECRET

ACCOUNT = "000000000000"
PLACEHOLDERS = {"<account>": ACCOUNT, "<access-key-id>": "AKIA0123456789ABCDEF"}
Call = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]


@functools.cache
def entries() -> tuple[dict[str, Any], ...]:
    return tuple(yaml.safe_load((HERE / "sts.yaml").read_text()))


@functools.cache
def differing() -> frozenset[str]:
    return frozenset(name for entry in yaml.safe_load((HERE / "sts_differs.yaml").read_text()) for name in entry["entries"])


def client(endpoint: str, **credentials: str) -> Any:
    return boto3.session.Session().client(
        "sts",
        endpoint_url=endpoint,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
        **{"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, **credentials},
    )


@pytest.fixture
def call(control_plane: ControlPlane) -> Call:
    sts = client(control_plane.endpoint)

    def send(operation: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            answer = sts._make_api_call(operation, request)
        except ClientError as error:
            answer = error.response
        status = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status, {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    return send


def filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: filled(item) for name, item in value.items()}
    return PLACEHOLDERS.get(value, value) if isinstance(value, str) else value


def met(entry: dict[str, Any], call: Call) -> bool:
    """Whether the answer to the entry's call is the recorded one."""
    if entry["call"].startswith("iam "):
        return False
    status, answer = call(entry["call"], filled(entry["request"]))
    error = answer.get("Error", {}).get("Code")
    if (status, error) != (entry["status"], entry.get("error")):
        return False
    return "body" not in entry or filled(entry["body"]) in (answer, {name: answer.get(name) for name in entry["body"]})


@pytest.mark.parametrize("entry", [one for one in entries() if "call" in one], ids=lambda entry: entry["id"])
def test_a_call_is_answered_as_recorded(entry: dict[str, Any], call: Call) -> None:
    if entry["id"] in differing():
        assert not met(entry, call), f"{entry['id']} is exact now: take it out of sts_differs.yaml"
    else:
        assert met(entry, call), call(entry["call"], filled(entry["request"]))


def test_every_entry_is_run_or_differs_with_a_reason() -> None:
    behaviours = {"get-caller-identity.shapes", "sts.endpoints"}
    names = {entry["id"] for entry in entries()}
    assert differing() <= names
    assert {entry["id"] for entry in entries() if "call" not in entry} - differing() == behaviours


def test_callers_have_the_shapes_that_are_documented(control_plane: ControlPlane) -> None:
    shapes = next(entry for entry in entries() if entry["id"] == "get-caller-identity.shapes")["then"]
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


@pytest.mark.parametrize("host", ["sts.amazonaws.com", f"sts.{REGION}.amazonaws.com"])
def test_its_own_host_names_lead_to_it(control_plane: ControlPlane, host: str) -> None:
    """The global and the regional name, as a DNS of one's own may lead them here; what is signed says it in any case."""
    sts = client(control_plane.endpoint)
    sts.meta.events.register("before-sign.sts", lambda request, **_: request.headers.add_header("Host", host))
    assert sts.get_caller_identity()["Account"] == ACCOUNT
