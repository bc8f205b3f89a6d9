"""Creating functions through boto3, the same for every peer that speaks Lambda's control plane."""

from __future__ import annotations

import uuid
from typing import Any

import boto3
from botocore.config import Config

from tests.bench.functions import HANDLERS, IDLE_MEMORY_MB, MEMORY_MB, package
from tests.bench.signing import Endpoint
from tests.needs import first_here, offered
from tests.support import ROLE, wait_until

JAVA = "java21"
RUBY = first_here(*reversed(offered("ruby")))


class Functions:
    def __init__(self, endpoint: Endpoint, python: str, node: str) -> None:
        self._runtimes = {"node": node, "provided": "provided.al2023", "java": JAVA, "ruby": RUBY}
        self._python = python
        self.client: Any = boto3.client(
            "lambda",
            endpoint_url=endpoint.url,
            region_name=endpoint.region,
            aws_access_key_id=endpoint.access_key_id,
            aws_secret_access_key=endpoint.secret_access_key,
            config=Config(retries={"max_attempts": 2}, connect_timeout=5, read_timeout=60),
        )

    def create(self, kind: str, runtime: str | None = None, **more: Any) -> str:
        name = f"bench-{kind}-{uuid.uuid4().hex[:8]}"
        self.client.create_function(
            FunctionName=name,
            Runtime=runtime or self._runtimes.get(kind, self._python),
            Role=ROLE,
            Handler=HANDLERS.get(kind, "index.handler"),
            Code={"ZipFile": package(kind)},
            MemorySize=IDLE_MEMORY_MB if kind == "idle" else MEMORY_MB,
            Timeout=30,
            **more,
        )
        wait_until(lambda: self._is_active(name), what=f"{name} is active")
        return name

    def replace_environments(self, name: str) -> None:
        """Have the next invocation start another environment, of the same package."""
        self.client.update_function_configuration(FunctionName=name, Environment={"Variables": {"TURN": uuid.uuid4().hex}})
        wait_until(lambda: self._is_updated(name), what=f"{name} is updated")

    def delete(self, name: str) -> None:
        self.client.delete_function(FunctionName=name)

    def _is_updated(self, name: str) -> bool:
        return bool(self.client.get_function_configuration(FunctionName=name).get("LastUpdateStatus") == "Successful")

    def _is_active(self, name: str) -> bool:
        return bool(self.client.get_function_configuration(FunctionName=name).get("State", "Active") == "Active")
