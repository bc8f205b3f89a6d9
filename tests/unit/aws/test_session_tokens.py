from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.frontend.main import check_access
from shared.aws.signatures import session_tokens
from shared.aws.signatures.sigv4 import Verifier
from shared.domain.errors import AuthError
from shared.settings import FrontendSettings
from tests.unit.aws.signers import refused, signed

CLUSTER = b"a cluster's secret"
WHO = "arn:aws:sts::000000000000:assumed-role/r/f"


def verifier(cluster_secret: bytes = CLUSTER, later_s: float = 0) -> Verifier:
    find = check_access(FrontendSettings(root_access_key_id="AKIDROOT", root_secret_access_key="root"), cluster_secret)
    assert find is not None
    return Verifier(regions=["us-east-1"], service="lambda", find_secret=find, now=lambda: time.time() + later_s)


def issued(lives_s: int = 60) -> session_tokens.TemporaryCredentials:
    return session_tokens.issue(CLUSTER, WHO, int(time.time()) + lives_s)


def signed_with(found: session_tokens.TemporaryCredentials, **changes: str) -> object:
    parts = {"key": found.access_key_id, "secret": found.secret_access_key, "token": found.session_token} | changes
    return signed(**parts)  # type: ignore[arg-type]


def test_temporary_credentials_sign_requests() -> None:
    found = issued()
    assert found.access_key_id.startswith("ASIA")
    assert (len(found.access_key_id), len(found.secret_access_key)) == (20, 40)
    assert verifier().verify(*signed_with(found)) == found.access_key_id  # type: ignore[misc]
    session = session_tokens.find_session(CLUSTER, found.session_token)
    assert session is not None
    assert session.principal == WHO


def test_no_two_are_alike() -> None:
    first, second = issued(), issued()
    assert first.access_key_id != second.access_key_id
    assert first.secret_access_key != second.secret_access_key
    assert first.session_token != second.session_token


def test_their_parts_belong_together() -> None:
    one, other = issued(), issued()
    for changes, code in (
        ({"token": other.session_token}, "UnrecognizedClientException"),
        ({"key": other.access_key_id}, "UnrecognizedClientException"),
        ({"key": "AKIDROOT", "secret": "root"}, "UnrecognizedClientException"),
        ({"secret": other.secret_access_key}, "InvalidSignatureException"),
    ):
        assert refused(signed_with(one, **changes), verifier()).code == code  # type: ignore[arg-type]
    without = signed(key=one.access_key_id, secret=one.secret_access_key)
    assert refused(without, verifier()).code == "UnrecognizedClientException"


def test_they_end() -> None:
    error = refused(signed_with(issued(lives_s=-1)), verifier())  # type: ignore[arg-type]
    assert (error.code, error.message) == ("ExpiredTokenException", "The security token included in the request is expired")


def test_another_cluster_does_not_know_them() -> None:
    for secret in (b"another", b""):
        assert refused(signed_with(issued()), verifier(secret)).code == "UnrecognizedClientException"  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cluster secret"):
        session_tokens.issue(b"", WHO, 0)


@given(st.data())
def test_a_token_that_was_tampered_with_is_nobodys(data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(issued().session_token))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert session_tokens.find_session(CLUSTER, base64.b64encode(raw).decode()) is None


@given(st.text(max_size=100) | st.binary(max_size=100).map(lambda raw: base64.b64encode(raw).decode()))
def test_no_text_is_a_token_by_chance(token: str) -> None:
    assert session_tokens.find_session(CLUSTER, token) is None
    assert session_tokens.find_secret(CLUSTER, "ASIAX", token, 0) is None


def test_an_expired_token_is_told_only_to_its_owner() -> None:
    found = issued(lives_s=-1)
    assert session_tokens.find_secret(CLUSTER, "ASIAOTHER", found.session_token, time.time()) is None
    with pytest.raises(AuthError):
        session_tokens.find_secret(CLUSTER, found.access_key_id, found.session_token, time.time())
