"""Terraform with the AWS provider, on terraform/main.tf: a module for each service, all applied together.

The provider is not fetched: it is looked for where machines keep Terraform's plug-ins. LAMBDAD_TEST_TERRAFORM_PLUGINS names a
folder (with registry.terraform.io/hashicorp/aws/... in it) that is elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cluster

PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0"
SETTING = "LAMBDAD_TEST_TERRAFORM_PLUGINS"
MODULES = Path(__file__).parent / "terraform"
COMMAND_TIMEOUT_S = 300.0
ALL_AT_ONCE = "-parallelism=60"
"""Resources mostly wait, for the provider wants to see some for half a minute: none of them is to wait for another's turn."""


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
NEEDS = [
    pytest.mark.needs("terraform"),
    pytest.mark.skipif(PLUGINS is None, reason=f"needs the AWS provider 5.100.0 in a folder of plug-ins ({SETTING} names one)"),
    pytest.mark.timeout(900),
]
"""The marks of a test that runs a module."""


class Terraform:
    """One working folder. variables: those of terraform/main.tf, values that are no text as JSON.

    The provider speaks to the cluster alone: the other services' credentials are made up.
    """

    def __init__(self, folder: Path, cluster: Cluster, variables: Mapping[str, str]) -> None:
        self._folder = folder
        configuration = folder / "terraform.rc"
        configuration.write_text(
            f'provider_installation {{\n  filesystem_mirror {{\n    path = "{PLUGINS}"\n  }}\n}}\ndisable_checkpoint = true\n'
        )
        shutil.copytree(MODULES, folder, dirs_exist_ok=True)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "TF_CLI_CONFIG_FILE": str(configuration),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "AWS_ACCESS_KEY_ID": cluster.access_key_id,
            "AWS_SECRET_ACCESS_KEY": cluster.secret_access_key,
            "AWS_REGION": "us-east-1",
            **{f"TF_VAR_{name}": value for name, value in {"endpoint": cluster.endpoint, **variables}.items()},
        }

    def apply(self, **changed: str) -> dict[str, Any]:
        """Finds that a plan after it has nothing to do, and tells the outputs. changed: variables."""
        self._environment |= {f"TF_VAR_{name}": value for name, value in changed.items()}
        self.run("apply", "-auto-approve", "-input=false", ALL_AT_ONCE)
        # -detailed-exitcode says 2 where there is something to do.
        self.run("plan", "-detailed-exitcode", "-input=false")
        return {name: value["value"] for name, value in json.loads(self.run("output", "-json")).items()}

    def destroy(self) -> None:
        self.run("destroy", "-auto-approve", "-input=false", ALL_AT_ONCE)

    def run(self, *words: str, status: int = 0) -> str:
        argv = ["terraform", words[0], "-no-color", *words[1:]]
        done = subprocess.run(
            argv, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
        assert done.returncode == status, (
            f"terraform {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout
