"""What a cluster is doing now, seen from outside: the supervisor's record, and each service asked again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.local.credentials import load, load_addresses
from deploy.local.layout import DataDir
from deploy.local.readiness import ask
from deploy.local.state import Child, ChildState, ClusterState, Phase, is_running, read_state
from shared.domain.arns import Home
from shared.domain.errors import ConfigurationError
from shared.domain.function_urls import PATH_PREFIX
from shared.domain.mappings.kafka import built_in_cluster_arn


@dataclass(frozen=True)
class Observed:
    """ready: the cluster runs, and every engine and service of it says that it is ready."""

    state: ClusterState | None
    running: bool
    ready: bool


async def observe(data: DataDir) -> Observed:
    state = read_state(data.state)
    if state is None or not is_running(data.lock):
        return Observed(state, running=False, ready=False)
    asked = [child for child in state.children if child.ready_url and child.state is ChildState.READY]
    answers = await asyncio.gather(*(ask(child.ready_url or "") for child in asked))
    for child, said in zip(asked, answers, strict=True):
        child.problem, child.weaker = said.problem, said.weaker
    for child in state.children:
        if child.state not in (ChildState.READY, ChildState.EXTERNAL):
            child.port = None  # Nothing listens there now.
    ready = state.phase is Phase.READY and all(map(_is_fine, state.children))
    return Observed(state, running=True, ready=ready)


def _is_fine(child: Child) -> bool:
    return child.problem is None and child.state in (ChildState.READY, ChildState.EXTERNAL)


def never_started(root: Path) -> str:
    return f"No cluster was ever started in {root}; start one with `lambdad up`."


def as_json(observed: Observed) -> str:
    document = {"running": observed.running, "ready": observed.ready, "cluster": observed.state}
    return msgspec.json.format(msgspec.json.encode(document)).decode()


def environment(data: DataDir) -> dict[str, str]:
    """Variables that point clients at the cluster. Raises ConfigurationError when there is none."""
    state, credentials = read_state(data.state), load(data.credentials)
    if state is None or credentials is None or not state.endpoint:
        raise ConfigurationError(never_started(data.root))
    variables = {
        "AWS_ENDPOINT_URL": state.endpoint,
        "AWS_REGION": state.region,
        "AWS_DEFAULT_REGION": state.region,
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "LAMBDAD_FUNCTION_URLS": state.endpoint + PATH_PREFIX.rstrip("/"),
    }
    engines = load_addresses(data.addresses)
    variables["LAMBDAD_KAFKA_ARN"] = built_in_cluster_arn(Home(state.account_id, state.region))
    return variables | dict(sorted(with_queues(engines).items()))


def with_queues(engines: dict[str, str]) -> dict[str, str]:
    """What clients are told: queues are in the Redis of the leases where they have none of their own."""
    return {"QUEUES_REDIS_URL": engines["REDIS_URL"], **engines}
