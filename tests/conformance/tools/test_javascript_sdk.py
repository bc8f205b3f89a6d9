"""The AWS SDK for JavaScript v3, from npm by its lock file: creates, waits, invokes, streams, and meets errors by class."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.bench.install import node_packages
from tests.bench.processes import PeerError
from tests.conftest import Cluster
from tests.support import PYTHON, ROLE, zip_of

NODE = shutil.which("node")
SUITE_TIMEOUT_S = 120.0
CODE = """
import os
import shared

def handler(event, context):
    print("handled", event)
    if event.get("fail"):
        raise ValueError("asked to")
    return {"hello": event.get("name"), "stage": os.environ["STAGE"], "shared": shared.NAME}
"""
STREAM = """
export const handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const piece of ["one ", "two ", "three"]) {
    stream.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  stream.end();
});
"""

NODE_MIN = 20
"""The oldest that the SDK runs on."""


def node_major() -> int:
    if NODE is None:
        return 0
    return int(
        subprocess.run([NODE, "--version"], capture_output=True, text=True, timeout=20).stdout.strip("v \n").split(".")[0]
    )


pytestmark = [
    pytest.mark.needs("node", "npm"),
    pytest.mark.skipif(node_major() < NODE_MIN, reason=f"needs Node.js {NODE_MIN} or newer on PATH"),
    pytest.mark.timeout(420),
]


@pytest.fixture(scope="module")
def suite() -> Path:
    """The folder with the suite and its packages."""
    try:
        return node_packages(Path(__file__).parent / "javascript")
    except PeerError as error:
        pytest.skip(f"the SDK's packages are not to be had: {error}")


@pytest.fixture(scope="module")
def told(suite: Path, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the suite says that happened."""
    folder = tmp_path_factory.mktemp("javascript")
    packages = {"code": {"app.py": CODE}, "stream": {"index.mjs": STREAM}, "layer": {"python/shared.py": "NAME = 'a layer'\n"}}
    for name, files in packages.items():
        (folder / f"{name}.zip").write_bytes(zip_of(files))
    files = [str(folder / f"{name}.zip") for name in packages]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": cluster.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": cluster.access_key_id,
        "AWS_SECRET_ACCESS_KEY": cluster.secret_access_key,
        "NODE_RUNTIME": "nodejs24.x",
        "PYTHON_RUNTIME": PYTHON,
    }
    done = subprocess.run(
        [str(NODE), "suite.mjs", f"js-{uuid.uuid4().hex[:8]}", *files, ROLE],
        cwd=suite, env=environment, capture_output=True, text=True, timeout=SUITE_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout))


def test_functions_are_created_with_layers_awaited_and_invoked(told: dict[str, Any]) -> None:
    assert told["layer"]["version"] == 1
    assert told["created"] == {"state": "Pending", "layers": [True]}
    assert told["waited"] == "SUCCESS"
    assert told["answer"]["payload"] == {"hello": "js", "stage": "test", "shared": "a layer"}
    assert told["answer"]["version"] == "$LATEST"
    assert "handled" in told["answer"]["log"]
    assert told["failed"] == {"error": "Unhandled", "type": "ValueError"}
    assert told["queued"] == 202
    assert (told["alias"], told["pages"]) == ("1", 2)


def test_a_response_arrives_in_the_pieces_in_which_it_was_written(told: dict[str, Any]) -> None:
    assert told["stream"]["pieces"] == ["one ", "two ", "three"]
    assert told["stream"]["ends"] == [None]


def test_errors_have_the_classes_that_the_sdk_knows(told: dict[str, Any]) -> None:
    found = [(error["class"], error["status"], error["fault"]) for error in told["errors"][:4]]
    assert found == [
        ("ResourceNotFoundException", 404, "client"),
        ("ResourceConflictException", 409, "client"),
        ("InvalidParameterValueException", 400, "client"),
        ("PreconditionFailedException", 412, "client"),
    ]
    assert all(error["message"] for error in told["errors"])
    # Not a class of the service model: AWS's own validation.
    assert (told["errors"][4]["name"], told["errors"][4]["status"]) == ("ValidationException", 400)


def test_what_was_deleted_is_gone(told: dict[str, Any]) -> None:
    assert told["gone"] == "ResourceNotFoundException"


def test_queues_are_used_with_their_errors_as_classes(told: dict[str, Any]) -> None:
    assert told["queue"] == {"body": "from js", "kind": "new", "raw": [0, 255], "deleted": 1, "gone": True}
