"""The AWS CLI, as a process of its own, with nothing but the variables that `lambdad env` prints; and inside a function."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeFunction
from tests.support import PYTHON, ROLE, zip_of

AWS = shutil.which("aws", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")

pytestmark = pytest.mark.skipif(AWS is None, reason="needs the AWS CLI on PATH: pip install awscli")


def aws(cluster: Any, *words: str, ok: bool = True, service: str = "lambda") -> Any:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(cluster.data_dir),
        "AWS_ENDPOINT_URL": cluster.endpoint,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": cluster.access_key_id,
        "AWS_SECRET_ACCESS_KEY": cluster.secret_access_key,
        "AWS_PAGER": "",
    }
    done = subprocess.run([str(AWS), service, *words], env=environment, capture_output=True, text=True, timeout=60)
    if not ok:
        assert done.returncode != 0, done.stdout
        return done.stderr
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_a_function_is_created_invoked_changed_and_deleted(cluster: Any, tmp_path: Path) -> None:
    package, out = tmp_path / "package.zip", tmp_path / "out.json"
    package.write_bytes(zip_of({"app.py": "def handler(event, context):\n    return {'hello': event['name']}\n"}))
    name = "cli-function"
    created = aws(
        cluster, "create-function", "--function-name", name, "--runtime", PYTHON, "--handler", "app.handler",
        "--role", ROLE, "--zip-file", f"fileb://{package}",
    )  # fmt: skip
    assert created["State"] == "Pending"
    aws(cluster, "wait", "function-active-v2", "--function-name", name)
    told = aws(cluster, "invoke", "--function-name", name, "--payload", '{"name": "cli"}', str(out))
    assert told["StatusCode"] == 200
    assert json.loads(out.read_text()) == {"hello": "cli"}
    queued = aws(
        cluster, "invoke", "--function-name", name, "--invocation-type", "Event", "--payload", '{"name": "x"}', str(out)
    )
    assert queued["StatusCode"] == 202
    assert [f["FunctionName"] for f in aws(cluster, "list-functions")["Functions"]].count(name) == 1
    aws(cluster, "update-function-configuration", "--function-name", name, "--timeout", "9", "--description", "by the CLI")
    aws(cluster, "wait", "function-updated-v2", "--function-name", name)
    assert aws(cluster, "get-function", "--function-name", name)["Configuration"]["Timeout"] == 9
    assert aws(cluster, "publish-version", "--function-name", name)["Version"] == "1"
    aws(cluster, "delete-function", "--function-name", name)
    assert "ResourceNotFoundException" in aws(cluster, "get-function", "--function-name", name, ok=False)


def test_who_asks_is_told_who_it_is(cluster: Any) -> None:
    found = aws(cluster, "get-caller-identity", service="sts")
    assert found == {"UserId": "000000000000", "Account": "000000000000", "Arn": "arn:aws:iam::000000000000:root"}


def test_a_service_that_is_not_here_names_the_setting(cluster: Any) -> None:
    said = aws(cluster, "list-buckets", service="s3api", ok=False)
    assert "Set LAMBDAD_FORWARD__S3=http://... (lambdad up --forward s3=URL) to forward it." in said


def test_a_wrong_secret_is_refused_in_awss_words(cluster: Any) -> None:
    class Wrong:
        data_dir, endpoint, access_key_id = cluster.data_dir, cluster.endpoint, cluster.access_key_id
        secret_access_key = "wrong" * 8

    said = aws(Wrong, "list-functions", ok=False)
    assert "InvalidSignatureException" in said
    assert "The request signature we calculated does not match the signature you provided." in said


IN_A_LAYER = ("awscli", "colorama", "docutils", "pyasn1", "PyYAML", "rsa")
"""What the CLI is made of."""
NEVER_READ = re.compile(r".*[.]pyc|[.][.]/.*|awscli/examples/.*")
OF_ANOTHER_SERVICE = re.compile(r"awscli/botocore/data/(?!(lambda|sts)/)[^/]+/.*[.]json")
"""Nine tenths of it: the CLI wants to see that they are there, and reads those of the service that is called."""
CALLS_THE_CLI = """
import json, subprocess
def aws(*words):
    done = subprocess.run(["aws", *words], capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
def handler(event, context):
    identity = aws("sts", "get-caller-identity")
    told = aws("lambda", "invoke", "--function-name", event["name"], "--payload", json.dumps({"from": "cli"}), "/tmp/out")
    return [identity["Arn"], told["StatusCode"], json.load(open("/tmp/out"))]
"""


def cli_layer() -> bytes:
    """As `pip install --target` makes it, and a program that starts it: layers' folders for modules are a handler's alone."""
    files: dict[str, str | bytes] = {"bin/aws": f"#!/var/lang/bin/{PYTHON}\n" + (
        "import sys\nsys.path.insert(0, '/opt/python')\nfrom awscli.clidriver import main\nsys.exit(main())\n"
    )}  # fmt: skip
    for name in IN_A_LAYER:
        for file in distribution(name).files or ():
            path = file.as_posix()
            if not NEVER_READ.fullmatch(path):
                files[f"python/{path}"] = b"{}" if OF_ANOTHER_SERVICE.fullmatch(path) else file.read_binary()
    return zip_of(files)


def test_inside_a_function_it_calls_the_functions_own_cluster_unchanged(client: Any, make_function: MakeFunction) -> None:
    layer = client.publish_layer_version(LayerName="aws-cli", Content={"ZipFile": cli_layer()})
    try:
        echo = make_function("def handler(event, context):\n    return event\n")
        caller = make_function(CALLS_THE_CLI, Layers=[layer["LayerVersionArn"]], MemorySize=1_769)
        answer = client.invoke(FunctionName=caller, Payload=json.dumps({"name": echo}))
        result = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, result
        assert result == [f"arn:aws:sts::000000000000:assumed-role/test/{caller}", 200, {"from": "cli"}]
    finally:
        client.delete_layer_version(LayerName="aws-cli", VersionNumber=layer["Version"])
