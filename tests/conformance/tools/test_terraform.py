"""Terraform with the AWS provider: a module is planned, applied, found unchanged, changed, found unchanged again, destroyed.

The provider is not fetched: it is looked for where machines keep Terraform's plug-ins. LAMBDAD_TEST_TERRAFORM_PLUGINS names a
folder (with registry.terraform.io/hashicorp/aws/... in it) that is elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.events.kafka import client_arguments
from tests.conftest import Cluster
from tests.support import PYTHON, zip_of

PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0"
SETTING = "LAMBDAD_TEST_TERRAFORM_PLUGINS"
MODULE = Path(__file__).parent / "terraform" / "main.tf"
COMMAND_TIMEOUT_S = 300.0
CODE = "import shared\n\ndef handler(event, context):\n    return {{'hello': event.get('name'), 'release': {}, 'shared': shared.NAME}}\n"


def plugins() -> Path | None:
    """The folder of plug-ins that has the provider."""
    home = Path.home()
    data = os.environ.get("XDG_DATA_DIRS", "/usr/local/share:/usr/share").split(":")
    named = [os.environ.get(SETTING), os.environ.get("TF_PLUGIN_CACHE_DIR")]
    standard = [home / ".terraform.d/plugins", home / ".terraform.d/plugin-cache", home / ".local/share/terraform/plugins"]
    places = [*(Path(name) for name in named if name), *standard, *(Path(place) / "terraform/plugins" for place in data)]
    places += sorted(Path("/opt").glob("*"))
    return next((place for place in places if (place / PROVIDER).is_dir()), None)


PLUGINS = plugins()
pytestmark = [
    pytest.mark.needs("terraform"),
    pytest.mark.skipif(PLUGINS is None, reason=f"needs the AWS provider 5.100.0 in a folder of plug-ins ({SETTING} names one)"),
    pytest.mark.timeout(900),
]


class Terraform:
    """One working folder. The provider speaks to the cluster alone: the other services' credentials are made up."""

    def __init__(self, folder: Path, cluster: Cluster, prefix: str) -> None:
        self._folder = folder
        configuration = folder / "terraform.rc"
        configuration.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{PLUGINS}"\n  }}\n}}\ndisable_checkpoint = true\n'
        )
        shutil.copy(MODULE, folder / "main.tf")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(configuration),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "AWS_ACCESS_KEY_ID": cluster.access_key_id,
            "AWS_SECRET_ACCESS_KEY": cluster.secret_access_key,
            "AWS_REGION": "us-east-1",
            "TF_VAR_endpoint": cluster.endpoint,
            "TF_VAR_kafka": cluster.environment["KAFKA_BOOTSTRAP_SERVERS"],
            "TF_VAR_prefix": prefix,
            "TF_VAR_runtime": PYTHON,
            "TF_VAR_code": str(folder / "code.zip"),
            "TF_VAR_layer": str(folder / "layer.zip"),
        }
        (folder / "layer.zip").write_bytes(zip_of({"python/shared.py": "NAME = 'a layer'\n"}))
        self.release(1)

    def release(self, number: int) -> None:
        (self._folder / "code.zip").write_bytes(zip_of({"index.py": CODE.format(number)}))
        self._environment["TF_VAR_released"] = str(number > 1).lower()

    def run(self, *words: str, status: int = 0) -> str:
        argv = ["terraform", words[0], "-no-color", *words[1:]]
        done = subprocess.run(
            argv, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert done.returncode == status, (
            f"terraform {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def unchanged(self) -> None:
        """A plan that has nothing to do: -detailed-exitcode says 2 otherwise."""
        self.run("plan", "-detailed-exitcode", "-input=false")

    def output(self) -> dict[str, Any]:
        return {name: value["value"] for name, value in json.loads(self.run("output", "-json")).items()}


async def make_topic(cluster: Cluster, name: str) -> None:
    admin = AIOKafkaAdminClient(**client_arguments(cluster.kafka))
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


def test_a_module_is_applied_stays_unchanged_is_released_and_destroyed(cluster: Cluster, client: Any, tmp_path: Path) -> None:
    prefix = f"tf-{uuid.uuid4().hex[:8]}"
    asyncio.run(make_topic(cluster, f"{prefix}-topic"))
    terraform = Terraform(tmp_path, cluster, prefix)
    terraform.run("init", "-input=false")
    terraform.run("plan", "-detailed-exitcode", "-input=false", "-out=planned", status=2)
    terraform.run("apply", "-input=false", "planned")
    first = terraform.output()
    assert first["answer"] == {"hello": "terraform", "release": 1, "shared": "a layer"}
    assert first["read"] == {"memory": 256, "layer": 1, "version": "1"}
    assert first["caller"] == "arn:aws:iam::000000000000:root"
    assert first["url"].startswith("http")
    terraform.unchanged()
    terraform.release(2)
    terraform.run("apply", "-auto-approve", "-input=false")
    terraform.unchanged()
    weights = client.get_alias(FunctionName=f"{prefix}-main", Name="live")["RoutingConfig"]["AdditionalVersionWeights"]
    assert weights == {"2": 0.25}
    terraform.run("destroy", "-auto-approve", "-input=false")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=f"{prefix}-main")
    assert client.list_event_source_mappings(FunctionName=f"{prefix}-main")["EventSourceMappings"] == []
    assert client.list_layer_versions(LayerName=f"{prefix}-layer")["LayerVersions"] == []
