"""SQS on a real socket, with the queue engine and the registry behind it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from services.frontend.apis.sqs.context import SqsContext, loader
from services.frontend.apis.sqs.operations import sqs
from shared.queues.moves import MoveTasks
from shared.queues.queues import Queues
from shared.registry.registry import Registry
from tests.integration.frontend.conftest import ACCOUNT, KEY, SECRET, SESSION, Frontend, running_frontend
from tests.integration.registry.support import new_database, settings_of


class Sqs:
    """A client's view, and what is behind it."""

    def __init__(self, frontend: Frontend, context: SqsContext) -> None:
        self.frontend = frontend
        self.context = context
        self._clients: dict[str, Any] = {}

    def client(self, region: str = "us-east-1") -> Any:
        if region not in self._clients:
            self._clients[region] = SESSION.client(
                "sqs",
                endpoint_url=self.frontend.url,
                region_name=region,
                aws_access_key_id=KEY,
                aws_secret_access_key=SECRET,
                config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=40),
            )
        return self._clients[region]

    async def __call__(self, operation: str, region: str = "us-east-1", **params: Any) -> dict[str, Any]:
        """An answer's members. Raises ClientError."""
        found = await asyncio.to_thread(self.client(region)._make_api_call, operation, params)
        del found["ResponseMetadata"]
        return dict(found)

    async def refused(self, operation: str, **params: Any) -> tuple[str, str]:
        """Code (the query protocol's, as botocore shows it) and text of an error."""
        with pytest.raises(ClientError) as caught:
            await self(operation, **params)
        error = caught.value.response["Error"]
        return error["Code"], error["Message"]

    async def queue(self, *, fifo: bool = False, tags: dict[str, str] | None = None, **attributes: str) -> str:
        """The URL of a new queue."""
        name = f"q-{uuid.uuid4().hex[:12]}"
        if fifo:
            name, attributes = f"{name}.fifo", {"FifoQueue": "true", **attributes}
        made = await self("CreateQueue", QueueName=name, Attributes=attributes, **({"tags": tags} if tags else {}))
        return str(made["QueueUrl"])

    async def bodies(self, url: str, **params: Any) -> list[str]:
        found = await self("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, **params)
        return [message["Body"] for message in found.get("Messages", ())]


def arn(url: str, region: str = "us-east-1") -> str:
    return f"arn:aws:sqs:{region}:{ACCOUNT}:{url.rpartition('/')[2]}"


@pytest.fixture(scope="session")
async def sqs_api(postgres_engine: str, redis_engine: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sqs]:
    async with new_database(postgres_engine) as url:
        settings = settings_of(url, tmp_path_factory.mktemp("sqs"), redis_url=redis_engine)
        registry = Registry(settings)
        await registry.migrate()
        await registry.open()
        queues = Queues.of(settings, loader(registry), name="test-sqs")
        await queues.open()
        moves, stop = MoveTasks(queues), asyncio.Event()
        running = asyncio.create_task(moves.run(stop))
        context = SqsContext(registry, queues, moves, deleted_name_wait_s=60.0)
        try:
            async with running_frontend(apis=[sqs(context)]) as frontend:
                yield Sqs(frontend, context)
        finally:
            stop.set()
            await running
            await queues.close()
            await registry.close()
