"""What the command line says of region and account is what the services were told."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import messages
from deploy.local.credentials import load_or_create, save_addresses
from deploy.local.layout import DataDir
from deploy.local.state import ClusterState, write_state
from deploy.local.status import environment
from deploy.local.up import read_settings
from shared.domain.arns import Home
from shared.domain.errors import ConfigurationError


def test_env_and_the_first_words_name_the_clusters_region_and_account(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    state = ClusterState(endpoint="http://127.0.0.1:9000", region="eu-west-1", account_id="123456789012")
    write_state(data.state, state)
    load_or_create(data.credentials)
    save_addresses(data.addresses, {"REDIS_URL": "redis://127.0.0.1:1"})
    told = environment(data)
    assert (told["AWS_REGION"], told["AWS_DEFAULT_REGION"]) == ("eu-west-1", "eu-west-1")
    assert told["LAMBDAD_KAFKA_ARN"].startswith("arn:aws:kafka:eu-west-1:123456789012:cluster/lambdad/")
    words = messages.ready(data, state)
    assert "(region eu-west-1, account 123456789012)" in words
    assert "arn:aws:iam::123456789012:role/lambda" in words


def test_up_reads_region_and_account_as_the_services_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().home == Home("000000000000", "us-east-1")
    monkeypatch.setenv("LAMBDAD_REGION", "eu-west-1")
    monkeypatch.setenv("LAMBDAD_ACCOUNT_ID", "123456789012")
    assert read_settings().home == Home("123456789012", "eu-west-1")
    monkeypatch.setenv("LAMBDAD_REGION", "the moon")
    with pytest.raises(ConfigurationError, match="region"):
        read_settings()
