"""SQS: both protocols, whose errors have different names; queues are made before anything is asked of them."""

from __future__ import annotations

import base64
import dataclasses
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

from tests.conformance.facts import Fact
from tests.conformance.runner import Run
from tests.conformance.services.service import ACCOUNT, REGION, Service, unique
from tests.conformance.steps import Step
from tests.conformance.values import PLACEHOLDER, Values
from tests.conformance.wire import Answer

ATTRIBUTE = re.compile(r'([A-Z]\w+) "?(\w+)"?')
TYPES_IN_QUERY = {"Type": "Sender", "Detail": ""}
NUMBERS = {"one": "1", "two": "2"}
TIME_PASSES = "time passes"
MOVED = "ApproximateNumberOfMessagesMoved"


class SqsValues(Values):
    """Entries of batches are told by their number. Times are text but for those of tasks."""

    def alike(self, expected: str, found: Any) -> bool | None:
        return re.fullmatch(r"\d{13}|\d{10}", str(found)) is not None if expected == "<timestamp>" else None

    def computed(self, text: str) -> Any:
        if match := re.fullmatch(r"(\d+) entries with Id message-0 to message-\d+ and short bodies", text):
            return [{"Id": f"message-{number}", "MessageBody": "short"} for number in range(int(match[1]))]
        if match := re.fullmatch(r'(\d+) entries with Id "0" to "\d+" and valid receipt handles', text):
            handle = self.known["receipt-handle"]
            return [{"Id": str(number), "ReceiptHandle": handle} for number in range(int(match[1]))]
        if match := re.fullmatch(r"base64 of (\{.*\})", text):
            return base64.b64encode(match[1].encode()).decode()
        return None


class Sqs(Service):
    name, title, botocore, protocols = "sqs", "SQS", "sqs", ("json", "query")
    values_class = SqsValues
    forms: Mapping[str, str | None] = {
        "message-id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "queue-url": r"https?://[^/]+/\d{12}/[\w-]+(\.fifo)?",
        "sequence-number": r"\d{20}",
    }
    nothing = r"nothing|no queue .*"
    sentences = {
        r"(?:standard|FIFO) queue(?: <queue>)?(?:,? (?:empty|never used)| without RedrivePolicy)?": lambda fact, match: [
            queue(fact)
        ],
        r"FIFO queue \(ContentBasedDeduplication not enabled\)": lambda fact, match: [queue(fact)],
        r"(?:standard|FIFO) queue with ((?:[A-Z]\w+ \S+)(?:, [A-Z]\w+ \S+)*)": lambda fact, match: [queue(fact, match[1])],
        r"standard queue with two messages(?:, both with body \"message\")?": lambda fact, match: [
            queue(fact),
            *(send() for _ in range(2)),
        ],
        r"standard queue with two messages, .*; the first received and not deleted": lambda fact, match: [
            queue(fact),
            *(send() for _ in range(2)),
            received(),
        ],
        r'standard queue with (VisibilityTimeout "1") and one message': lambda fact, match: [queue(fact, match[1]), send()],
        r"FIFO queue with (.*), one message \(body (\w+)\) of group \"(\d)\"": lambda fact, match: [
            queue(fact, match[1]),
            send(match[2], group=match[3]),
        ],
        r"standard queue with 20 messages, all received": lambda fact, match: [
            queue(fact),
            *(send() for _ in range(20)),
            *(received(10) for _ in range(2)),
        ],
        r"6 messages sent": lambda fact, match: [send() for _ in range(6)],
        r"6 messages sent, two each of the groups 1, 2, 3 in that order": lambda fact, match: [
            send(f"message {number}", group=str(1 + number // 2)) for number in range(6)
        ],
        r"two messages of different groups sent, received and deleted": lambda fact, match: [
            step for group in ("1", "2") for step in (send(group=group, deduplication=group), received(), DELETE)
        ],
        r"the message received": lambda fact, match: [received()],
        r"(one|two|1\.5) seconds? pass(?:es)?": lambda fact, match: [passes(float(NUMBERS.get(match[1], match[1])))],
        r"the visibility timeout passes": lambda fact, match: [passes(60.1)],
        r"two standard queues; no queue has the source as its dead-letter target": lambda fact, match: [
            queue(fact),
            made("dest"),
        ],
        r"<dlq-arn> is the deadLetterTargetArn of another queue.*": lambda fact, match: dead_letters(
            2 if "holds 2" in match[0] else 0, destination="empty standard" in match[0]
        ),
        r"<dlq-arn> holds 10 messages": lambda fact, match: dead_letters(10, destination=True),
        r"two messages have arrived": lambda fact, match: [tasks(lambda task: task[MOVED] >= 2)],
        r"the task has ended|the status has changed": lambda fact, match: [
            tasks(lambda task: task["Status"] not in ("RUNNING", "CANCELLING"))
        ],
        r"the destination queue is deleted while the task runs": lambda fact, match: [
            tasks(lambda task: task[MOVED] >= 1),
            Step("DeleteQueue", {"QueueUrl": "<dest>"}),
        ],
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

    def steps_of(self, fact: Fact, sentence: str | dict[str, Any]) -> Sequence[Step]:
        """Of what a given call returns, entries tell the members that they need, not all."""
        steps = super().steps_of(fact, sentence)
        return [
            dataclasses.replace(step, takes={**step.takes, **dict(told(step.returns))}, returns=None) if step.returns else step
            for step in steps
        ]

    def perform(self, run: Run, step: Step, last: bool) -> None:
        if step.operation == TIME_PASSES:
            run.plane.pass_time(step.request["seconds"])
        else:
            super().perform(run, step, last)

    def found(self, run: Run, request: dict[str, Any], answer: Answer) -> Any:
        # Without members, the JSON protocol has no body at all.
        body = super().found(run, request, answer) or {}
        if run.fact.id in COUNTED_BY_CHANCE:
            [expected], [task] = run.fact.body["Results"], body["Results"]
            if 1 <= task[MOVED] <= task["ApproximateNumberOfMessagesToMove"]:
                task[MOVED] = expected[MOVED]
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


COUNTED_BY_CHANCE = ("list-message-move-tasks.cancelled", "list-message-move-tasks.failed-destination-deleted")
"""How far these got depends on when."""


def is_fifo(fact: Fact) -> bool:
    return "FIFO queue" in fact.told or "<queue>.fifo" in f"{fact.told}{fact.request}"


def queue(fact: Fact, attributes: str = "") -> Step:
    """attributes: as a sentence tells them: `ContentBasedDeduplication "true", VisibilityTimeout 60`."""
    fifo = is_fifo(fact)
    found = dict(ATTRIBUTE.findall(attributes)) | ({"FifoQueue": "true"} if fifo else {})
    name = "<queue>.fifo" if fifo else "<queue>"
    return Step("CreateQueue", {"QueueName": name, "Attributes": found}, {"QueueUrl": "queue-url"})


def made(kind: str, **attributes: Any) -> Step:
    """Another queue, of the name that this placeholder stands for."""
    return Step("CreateQueue", {"QueueName": f"<{kind}>", "Attributes": attributes})


def send(
    body: str = "message", *, group: str | None = None, deduplication: str | None = None, url: str = "<queue-url>"
) -> Step:
    fifo = {"MessageGroupId": group, "MessageDeduplicationId": deduplication}
    named = {name: value for name, value in fifo.items() if value is not None}
    return Step("SendMessage", {"QueueUrl": url, "MessageBody": body, **named})


def received(count: int = 1) -> Step:
    request = {"QueueUrl": "<queue-url>", "MaxNumberOfMessages": count}
    return Step("ReceiveMessage", request, {"Messages.0.ReceiptHandle": "receipt-handle"})


DELETE = Step("DeleteMessage", {"QueueUrl": "<queue-url>", "ReceiptHandle": "<receipt-handle>"})


def passes(seconds: float) -> Step:
    return Step(TIME_PASSES, {"seconds": seconds})


def dead_letters(count: int, *, destination: bool) -> list[Step]:
    """A queue, its dead-letter queue with so many messages that came from it, and perhaps a third."""
    policy = {"$json": {"deadLetterTargetArn": "<dlq-arn>", "maxReceiveCount": 1}}
    receive = {"QueueUrl": "<queue>", "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}
    steps = [made("dlq"), made("queue", RedrivePolicy=policy), *(send(url="<queue>") for _ in range(count))]
    # The second receive of each is one too many.
    steps += [Step("ReceiveMessage", receive) for _ in range(2 if count else 0)]
    return [*steps, made("dest")] if destination else steps


def told(returned: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The places of placeholders in what a call returns, and their names."""
    if isinstance(returned, dict | list):
        for key, item in returned.items() if isinstance(returned, dict) else enumerate(returned):
            yield from told(item, f"{path}.{key}" if path else str(key))
    elif match := PLACEHOLDER.fullmatch(str(returned)):
        yield path, match[1]


def tasks(reached: Callable[[dict[str, Any]], bool]) -> Step:
    return Step("ListMessageMoveTasks", {"SourceArn": "<dlq-arn>"}, until=lambda body: reached(body["Results"][0]))
