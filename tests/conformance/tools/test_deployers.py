"""Chalice deploys an application and takes it away again; a SAM template becomes functions, through what SAM makes of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench.install import python_environment
from tests.bench.processes import PeerError
from tests.conformance.tools.stack import Stack
from tests.conftest import Cluster
from tests.support import PYTHON, zip_of

HERE = Path(__file__).parent
COMMAND_TIMEOUT_S = 120.0
CODE = """
import json, os
import shared

def handler(event, context):
    return {"hello": event.get("name"), "stage": os.environ["STAGE"], "shared": shared.NAME}
"""

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def tools() -> Path:
    """The programs of requirements/tools.txt."""
    try:
        return python_environment("tools", locked="tools") / "bin"
    except PeerError as error:
        pytest.skip(f"Chalice and the SAM translator are not to be had: {error}")


class Chalice:
    def __init__(self, tools: Path, folder: Path, cluster: Cluster) -> None:
        self._program = tools / "chalice"
        self._folder = folder
        self._environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "HOME": str(folder.parent),
            "AWS_ENDPOINT_URL": cluster.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": cluster.access_key_id,
            "AWS_SECRET_ACCESS_KEY": cluster.secret_access_key,
        }

    def run(self, *words: str, stdin: str = "", ok: bool = True) -> str:
        done = subprocess.run(
            [str(self._program), *words],
            cwd=self._folder, env=self._environment, input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout + done.stderr


def test_chalice_deploys_an_application_changes_it_and_deletes_it(
    tools: Path, cluster: Cluster, client: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "application"
    shutil.copytree(HERE / "chalice", folder)
    chalice = Chalice(tools, folder, cluster)
    name = "lambdad-chalice-dev-greet"
    assert f"function:{name}" in chalice.run("deploy", "--stage", "dev")
    assert json.loads(chalice.run("invoke", "-n", "greet", stdin='{"name": "chalice"}')) == {
        "hello": "chalice",
        "stage": "test",
        "function": name,
    }
    assert "asked to" in chalice.run("invoke", "-n", "fail", stdin="{}", ok=False)
    configuration = client.get_function(FunctionName=name)
    assert (configuration["Configuration"]["MemorySize"], configuration["Tags"]["team"]) == (256, "chalice")
    config = folder / ".chalice" / "config.json"
    config.write_text(config.read_text().replace('"STAGE": "test"', '"STAGE": "changed"'))
    assert "Updating lambda function" in chalice.run("deploy", "--stage", "dev")
    assert json.loads(chalice.run("invoke", "-n", "greet", stdin="{}"))["stage"] == "changed"
    chalice.run("delete", "--stage", "dev")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=name)


def test_a_sam_template_becomes_functions(tools: Path, cluster: Cluster, client: Any) -> None:
    prefix, bucket = f"sam-{uuid.uuid4().hex[:8]}", f"sam-{uuid.uuid4().hex[:8]}"
    folder = cluster.data_dir / "s3" / bucket
    folder.mkdir(parents=True)
    (folder / "code.zip").write_bytes(zip_of({"app.py": CODE}))
    (folder / "layer.zip").write_bytes(zip_of({"python/shared.py": "NAME = 'a layer'\n"}))
    stack = Stack(client)
    stack.create(translated(tools, prefix, bucket))

    name = f"{prefix}-worker"
    reply = client.invoke(FunctionName=f"{name}:live", Payload=b'{"name": "sam"}')
    assert json.loads(reply["Payload"].read()) == {"hello": "sam", "stage": "test", "shared": "a layer"}
    assert reply["ExecutedVersion"] == "1"
    assert (
        client.list_tags(Resource=client.get_function(FunctionName=name)["Configuration"]["FunctionArn"])["Tags"]["team"]
        == "sam"
    )
    host = urllib.parse.urlsplit(stack.named("AWS::Lambda::Url")["FunctionUrl"]).netloc
    with urllib.request.urlopen(urllib.request.Request(cluster.endpoint, headers={"Host": host}), timeout=20) as page:
        assert json.loads(page.read())["stage"] == "test"
    assert client.get_function_event_invoke_config(FunctionName=name, Qualifier="live")["MaximumRetryAttempts"] == 1
    (mapping,) = client.list_event_source_mappings(FunctionName=f"{name}:live")["EventSourceMappings"]
    assert (mapping["BatchSize"], mapping["EventSourceArn"].endswith(f"{prefix}-queue")) == (5, True)
    config = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    assert config["RequestedProvisionedConcurrentExecutions"] == 1
    client.delete_event_source_mapping(UUID=mapping["UUID"])
    client.delete_function(FunctionName=name)


def translated(tools: Path, prefix: str, bucket: str) -> dict[str, Any]:
    """What SAM makes of the template, for CloudFormation."""
    text = (
        (HERE / "sam" / "template.yaml")
        .read_text()
        .replace("PREFIX", prefix)
        .replace("BUCKET", bucket)
        .replace("RUNTIME", PYTHON)
    )
    template = yaml.safe_load(text.replace("!Ref Shared", "{Ref: Shared}"))
    done = subprocess.run(
        [str(tools / "python"), str(HERE / "sam" / "translate.py")],
        input=json.dumps(template), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
        env={"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))
