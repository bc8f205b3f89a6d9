"""The AWS CLI over the whole API: a process a call, as operators and scripts use it. The first steps are in tests/e2e."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster
from tests.e2e.test_aws_cli import AWS, aws
from tests.support import PYTHON, ROLE, zip_of

CODE = "import shared\n\ndef handler(event, context):\n    return {'shared': shared.NAME}\n"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"

pytestmark = [pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli"), pytest.mark.timeout(300)]


class Cli:
    """`call("get-alias", name="live")` is `aws lambda get-alias --function-name <the function> --name live`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name

    def call(self, operation: str, *words: str, ok: bool = True, **options: Any) -> Any:
        named = [("function_name", self.name), *options.items()] if "function_name" not in options else options.items()
        return self.plain(operation, *words, ok=ok, **dict(named))

    def plain(self, operation: str, *words: str, ok: bool = True, **options: Any) -> Any:
        """A call that is not about the function."""
        spelled = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", text(value))]
        return aws(self._cluster, operation, *words, *spelled, ok=ok)


def text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@pytest.fixture(scope="module")
def cli(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A function with a layer, its first version and an alias, all made by the CLI."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "code.zip").write_bytes(zip_of({"app.py": CODE}))
    (folder / "layer.zip").write_bytes(zip_of({"python/shared.py": "NAME = 'a layer'\n"}))
    made = Cli(cluster, f"cli-{uuid.uuid4().hex[:8]}")
    layer = made.plain(
        "publish-layer-version", layer_name=made.name, zip_file=f"fileb://{folder}/layer.zip", compatible_runtimes=PYTHON
    )
    made.call(
        "create-function", runtime=PYTHON, handler="app.handler", role=ROLE, zip_file=f"fileb://{folder}/code.zip",
        layers=layer["LayerVersionArn"], tags="team=cli", environment="Variables={STAGE=test}",
    )  # fmt: skip
    aws(cluster, "wait", "function-active-v2", "--function-name", made.name)
    assert made.call("publish-version", description="one")["Version"] == "1"
    aws(cluster, "wait", "published-version-active", "--function-name", made.name, "--qualifier", "1")
    made.call("create-alias", name="live", function_version="1")
    return made


def test_the_function_runs_with_its_layer(cli: Cli, tmp_path: Path) -> None:
    told = cli.call("invoke", str(tmp_path / "out.json"), qualifier="live", log_type="Tail")
    assert (told["StatusCode"], told["ExecutedVersion"]) == (200, "1")
    assert json.loads((tmp_path / "out.json").read_text()) == {"shared": "a layer"}
    assert cli.call("invoke", str(tmp_path / "out.json"), invocation_type="DryRun")["StatusCode"] == 204
    args = tmp_path / "args.json"
    args.write_text("{}")
    assert cli.call("invoke-async", invoke_args=str(args))["Status"] == 202


def test_layers_are_listed_and_permitted(cli: Cli) -> None:
    assert cli.plain("list-layer-versions", layer_name=cli.name)["LayerVersions"][0]["Version"] == 1
    assert cli.name in [layer["LayerName"] for layer in cli.plain("list-layers")["Layers"]]
    about = {"layer_name": cli.name, "version_number": "1"}
    cli.plain("add-layer-version-permission", **about, statement_id="s1", action="lambda:GetLayerVersion", principal="*")
    assert json.loads(cli.plain("get-layer-version-policy", **about)["Policy"])["Statement"][0]["Sid"] == "s1"
    cli.plain("remove-layer-version-permission", **about, statement_id="s1")
    assert "ResourceNotFoundException" in cli.plain("get-layer-version-policy", **about, ok=False)


def test_aliases_and_permissions(cli: Cli) -> None:
    cli.call("update-function-configuration", description="two")
    aws(cli._cluster, "wait", "function-updated-v2", "--function-name", cli.name)
    assert cli.call("publish-version")["Version"] == "2"
    cli.call("update-alias", name="live", routing_config="AdditionalVersionWeights={2=0.5}")
    assert cli.call("get-alias", name="live")["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.5}}
    statement = cli.call(
        "add-permission", statement_id="s3", action="lambda:InvokeFunction", principal="s3.amazonaws.com", qualifier="live"
    )
    assert json.loads(statement["Statement"])["Sid"] == "s3"
    assert "s3.amazonaws.com" in cli.call("get-policy", qualifier="live")["Policy"]
    cli.call("remove-permission", statement_id="s3", qualifier="live")
    cli.call("update-alias", name="live", routing_config="AdditionalVersionWeights={}")


def test_concurrency_of_both_kinds(cli: Cli) -> None:
    assert cli.call("put-function-concurrency", reserved_concurrent_executions=5)["ReservedConcurrentExecutions"] == 5
    put = cli.call("put-provisioned-concurrency-config", qualifier="live", provisioned_concurrent_executions=1)
    assert put["Status"] == "IN_PROGRESS"
    assert len(cli.call("list-provisioned-concurrency-configs")["ProvisionedConcurrencyConfigs"]) == 1
    cli.call("delete-provisioned-concurrency-config", qualifier="live")
    cli.call("delete-function-concurrency")
    assert cli.call("get-function-concurrency") is None or "ReservedConcurrentExecutions" not in cli.call(
        "get-function-concurrency"
    )


def test_urls_asynchronous_settings_and_mappings(cli: Cli) -> None:
    created = cli.call(
        "create-function-url-config", qualifier="live", auth_type="NONE", cors="AllowOrigins=https://example.com"
    )
    assert created["FunctionUrl"].startswith("http")
    assert cli.call("get-function-url-config", qualifier="live")["Cors"]["AllowOrigins"] == ["https://example.com"]
    cli.call("delete-function-url-config", qualifier="live")
    config = cli.call(
        "put-function-event-invoke-config", maximum_retry_attempts=0, destination_config=f"OnFailure={{Destination={QUEUE}}}"
    )
    assert config["DestinationConfig"]["OnFailure"]["Destination"] == QUEUE
    cli.call("delete-function-event-invoke-config")
    mapping = cli.call("create-event-source-mapping", "--no-enabled", event_source_arn=QUEUE.replace("failed", cli.name))
    assert cli.call("list-event-source-mappings")["EventSourceMappings"][0]["UUID"] == mapping["UUID"]
    assert cli.plain("delete-event-source-mapping", uuid=mapping["UUID"])["State"] == "Deleting"


def test_settings_of_signing_runtime_and_recursion(cli: Cli) -> None:
    profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/test/0123456789"
    made = cli.plain("create-code-signing-config", allowed_publishers=f"SigningProfileVersionArns={profile}")
    arn = made["CodeSigningConfig"]["CodeSigningConfigArn"]
    cli.call("put-function-code-signing-config", code_signing_config_arn=arn)
    assert cli.plain("list-functions-by-code-signing-config", code_signing_config_arn=arn)["FunctionArns"][0].endswith(cli.name)
    cli.call("delete-function-code-signing-config")
    cli.plain("delete-code-signing-config", code_signing_config_arn=arn)
    assert cli.call("put-function-recursion-config", recursive_loop="Allow") == {"RecursiveLoop": "Allow"}
    assert cli.call("put-runtime-management-config", update_runtime_on="FunctionUpdate")["UpdateRuntimeOn"] == "FunctionUpdate"


def test_tags_pages_and_what_the_account_has(cli: Cli) -> None:
    arn = cli.call("get-function")["Configuration"]["FunctionArn"]
    cli.plain("tag-resource", resource=arn, tags="a=b")
    assert cli.plain("list-tags", resource=arn)["Tags"] == {"team": "cli", "a": "b"}
    cli.plain("untag-resource", resource=arn, tag_keys="a")
    assert [v["Version"] for v in cli.call("list-versions-by-function", "--page-size", "1")["Versions"]][:2] == ["$LATEST", "1"]
    assert cli.plain("get-account-settings")["AccountUsage"]["FunctionCount"] >= 1
    assert cli.plain("list-capacity-providers") == {"CapacityProviders": []}


def test_errors_are_told_in_awss_words(cli: Cli) -> None:
    said = cli.call("get-function", function_name="nobody-made-it", ok=False)
    assert "An error occurred (ResourceNotFoundException) when calling the GetFunction operation: Function not found: " in said
    said = cli.call("update-function-configuration", memory_size=99999, ok=False)
    assert "ValidationException" in said
    assert "Value '99999' at 'memorySize' failed to satisfy constraint" in said


def test_queues_are_made_used_and_deleted(cluster: Cluster, cli: Cli) -> None:
    def sqs(*words: str, ok: bool = True) -> Any:
        # For SQS alone, version 1 of the CLI overlooks AWS_ENDPOINT_URL.
        return aws(cluster, *words, "--endpoint-url", cluster.endpoint, service="sqs", ok=ok)

    url = sqs("create-queue", "--queue-name", cli.name, "--attributes", "VisibilityTimeout=60", "--tags", "team=cli")[
        "QueueUrl"
    ]
    about = ("--queue-url", url)
    assert sqs("list-queues", "--queue-name-prefix", cli.name)["QueueUrls"] == [url]
    kind = "kind={DataType=String,StringValue=new}"
    sent = sqs("send-message", *about, "--message-body", "one", "--message-attributes", kind)
    entries = json.dumps([{"Id": "a", "MessageBody": "two"}, {"Id": "b", "MessageBody": "three"}])
    assert len(sqs("send-message-batch", *about, "--entries", entries)["Successful"]) == 2
    received = sqs("receive-message", *about, "--max-number-of-messages", "10", "--message-attribute-names", "All")["Messages"]
    assert [message["Body"] for message in received] == ["one", "two", "three"]
    assert received[0]["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    handle = ("--receipt-handle", received[0]["ReceiptHandle"])
    sqs("change-message-visibility", *about, *handle, "--visibility-timeout", "120")
    sqs("delete-message", *about, *handle)
    found = sqs("get-queue-attributes", *about, "--attribute-names", "All")["Attributes"]
    assert (found["VisibilityTimeout"], found["ApproximateNumberOfMessagesNotVisible"]) == ("60", "2")
    assert sqs("list-queue-tags", *about)["Tags"] == {"team": "cli"}
    sqs("purge-queue", *about)
    sqs("delete-queue", *about)
    assert "NonExistentQueue" in sqs("get-queue-url", "--queue-name", cli.name, ok=False)
