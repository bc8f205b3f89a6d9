"""SQS: both protocols, whose errors have different names; queues are made before anything is asked of them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Set
from typing import Any

from tests.conformance.facts import Fact
from tests.conformance.runner import Run
from tests.conformance.services.service import ACCOUNT, REGION, Service, unique
from tests.conformance.steps import Step
from tests.conformance.wire import Answer

ATTRIBUTE = re.compile(r'(\w+) "?([\w]+)"?')
TYPES_IN_QUERY = {"Type": "Sender", "Detail": ""}


class Sqs(Service):
    name, title, botocore, protocols = "sqs", "SQS", "sqs", ("json", "query")
    forms: Mapping[str, str | None] = {
        "message-id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "queue-url": r"https?://[^/]+/\d{12}/[\w-]+(\.fifo)?",
        "sequence-number": r"\d{20}",
        "timestamp": r"\d{13}|\d{10}",
    }
    every_time_another = ("timestamp",)
    nothing = r"nothing|no queue .*"
    sentences = {
        r"(?:standard|FIFO) queue(?: <queue>)?(?:,? (?:empty|never used)| without RedrivePolicy)?": lambda fact, match: [
            queue(fact)
        ],
        r"FIFO queue \(ContentBasedDeduplication not enabled\)": lambda fact, match: [queue(fact)],
        r"(?:standard|FIFO) queue with ([^,]*(?:, [A-Z]\w+ [^,]*)*)": lambda fact, match: [queue(fact, match[1])],
    }

    def operations(self) -> Set[str]:
        from services.frontend.apis.sqs.operations import OPERATIONS

        return OPERATIONS.keys()

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        name = unique("q")
        told = f"{name}.fifo" if is_fifo(fact) else name
        names = {"queue": name, "dlq": unique("dlq"), "dest": unique("dest")}
        arns = {f"{kind}-arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{names[kind]}" for kind in ("dlq", "dest")}
        ids = {"id": str(uuid.uuid4()), "id:2": str(uuid.uuid4())}
        return {**names, **arns, **ids, "queue-arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{told}"}

    def error(self, answer: Answer) -> str | None:
        """By the name that older clients know, in both protocols."""
        if not answer.failed or answer.protocol == "query":
            return answer.error
        return answer.headers.get("x-amzn-query-error", f"{answer.error};").partition(";")[0]

    def expected(self, fact: Fact, answer: Answer) -> Any:
        if not answer.failed or answer.protocol == "json":
            return fact.body
        return {"Code": fact.error, "Message": fact.body["message"], **TYPES_IN_QUERY}

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        body = super().found(run, request, answer)
        if answer.failed and answer.protocol == "json":
            # The namespace was not recorded, nor whether the key is a capital's.
            told = {("message" if name == "Message" else name): value for name, value in body.items()}
            return told | ({"__type": told["__type"].rpartition("#")[2]} if "__type" in told else {})
        return body

    def more(self, run: Run, request: dict[str, Any], answer: Answer) -> list[str]:
        told = answer.headers.get("x-amzn-query-error")
        if answer.failed and answer.protocol == "json" and told != f"{run.fact.error};Sender":
            return [f"x-amzn-query-error is {told}"]
        return []


def is_fifo(fact: Fact) -> bool:
    return "FIFO queue" in fact.told or "<queue>.fifo" in f"{fact.told}{fact.request}"


def queue(fact: Fact, attributes: str = "") -> Step:
    """attributes: as a sentence tells them: `ContentBasedDeduplication "true", VisibilityTimeout 60`."""
    fifo = is_fifo(fact)
    found = dict(ATTRIBUTE.findall(attributes)) | ({"FifoQueue": "true"} if fifo else {})
    name = "<queue>.fifo" if fifo else "<queue>"
    return Step("CreateQueue", {"QueueName": name, "Attributes": found}, {"QueueUrl": "queue-url"})
