"""moto's server from PyPI: a control plane in memory, which is what is measured of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3

from tests.bench.install import python_environment
from tests.bench.peers.sdk import Functions
from tests.bench.processes import Child, free_port, listens
from tests.bench.signing import Endpoint
from tests.support import ROLE

START_TIMEOUT_S = 60.0


class Moto:
    name = "moto"
    warm_kind = "python"

    def __init__(self) -> None:
        self._child: Child | None = None

    def start(self, workdir: Path, *, cold: dict[str, int]) -> None:
        home = python_environment("moto")
        self._port = free_port()
        command = [str(home / "bin" / "moto_server"), "-H", "127.0.0.1", "-p", str(self._port)]
        # The account of the role that every peer is given.
        environment = {"MOTO_ACCOUNT_ID": ROLE.split(":")[4]}
        self._child = Child(command, log=workdir / "moto.log", environment=environment, cwd=workdir)
        self._child.wait_until(lambda: listens(self._port), deadline_s=START_TIMEOUT_S, what="moto")
        self._make_role()
        self._functions = Functions(self.endpoint(), python="python3.12", node="nodejs20.x")
        self._warm = self._functions.create(self.warm_kind)

    def _make_role(self) -> None:
        """It looks for the role of a function, unlike the others."""
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        place = self.endpoint()
        keys = {"aws_access_key_id": place.access_key_id, "aws_secret_access_key": place.secret_access_key}
        iam: Any = boto3.client("iam", endpoint_url=place.url, region_name=place.region, **keys)
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName=ROLE.rpartition("/")[2], AssumeRolePolicyDocument=document)

    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self._port)

    def warm_function(self) -> str:
        return self._warm

    def cold_functions(self, kind: str, count: int) -> list[str]:
        return [self._functions.create(kind) for _ in range(count)]

    def stop(self) -> None:
        if self._child:
            self._child.stop()
