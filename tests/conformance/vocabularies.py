"""What made-up requests of the services beside Lambda speak of: names of what is made first, and of what is not there.

Addresses are of this machine, where nothing listens: what is subscribed or connected to may be tried.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT, REGION

Calls = list[tuple[str, dict[str, Any]]]
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
NOWHERE = "http://127.0.0.1:1/x"


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


@dataclass(frozen=True)
class Words:
    """first: calls that make what the others speak of; what they are refused with is no matter."""

    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    first: Calls = field(default_factory=list)


POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
)
POLICIES = [POLICY, "", "{", "[]", "5", '{"Statement": 5}', '{"Statement": [null]}']
REDRIVES = [json.dumps({"deadLetterTargetArn": arn("sqs", "made-up"), "maxReceiveCount": 3}), "{}", "[]", "x", ""]
PATTERNS = ['{"source": ["a"]}', '{"a": [{"numeric": [">", 1]}]}', "{", "[]", '{"a": []}', '{"a": [{"wildcard": "**"}]}', "5"]

SQS = Words(
    Vocabulary(
        {
            "QueueUrl": [f"http://127.0.0.1:9000/{ACCOUNT}/made-up", "made-up", "made-up.fifo", "gone", "http://x/y", ""],
            "QueueName": ["made-up", "made-up.fifo", "another", "bad name", ""],
            "Attributes": [
                {"VisibilityTimeout": "1"}, {"DelaySeconds": "x"}, {"Policy": "{"}, {"FifoQueue": "true"}, {"Nope": "1"},
                *({"RedrivePolicy": text} for text in REDRIVES), *({"RedriveAllowPolicy": text} for text in REDRIVES),
            ],
            "AttributeNames": [["All"], ["QueueArn"], ["Nope"]],
            "ReceiptHandle": ["gone", "", "MTIz"],
            "TaskHandle": ["gone", "", "e30=", "bnVsbA=="],
            "SourceArn": [arn("sqs", "made-up"), arn("sqs", "gone"), "x"],
            "DestinationArn": [arn("sqs", "another"), arn("sqs", "gone"), "x"],
            "MessageBody": ["body", "", "\ufffe", "é" * 100],
            "DataType": ["String", "Number", "Binary", "String.x", "Nope", ""],
            "StringValue": ["v", "1", "x", ""],
            "MaxNumberOfMessages": [1, 10, 0, 11, -1],
            "VisibilityTimeout": [0, 1, 43_201, -1],
            "WaitTimeSeconds": [0, -1, 21],
            "DelaySeconds": [0, 1, 901, -1],
        },
        only=frozenset({"WaitTimeSeconds"}),
    ),
    [
        ("CreateQueue", {"QueueName": "made-up"}),
        ("CreateQueue", {"QueueName": "made-up.fifo", "Attributes": {"FifoQueue": "true"}}),
        ("CreateQueue", {"QueueName": "another"}),
    ],
)  # fmt: skip
SNS = Words(
    Vocabulary(
        {
            "TopicArn": [arn("sns", "made-up"), arn("sns", "made-up.fifo"), arn("sns", "gone"), "x", arn("sqs", "made-up")],
            "TargetArn": [arn("sns", "made-up"), arn("sns", "gone"), "x"],
            "ResourceArn": [arn("sns", "made-up"), arn("sns", "gone"), "x"],
            "SubscriptionArn": [arn("sns", "made-up:00000000-0000-4000-8000-000000000000"), "PendingConfirmation", "x"],
            "Name": ["made-up", "made-up.fifo", "another", "bad name", ""],
            "Protocol": ["sqs", "lambda", "http", "email", "nope"],
            "Endpoint": [arn("sqs", "made-up"), arn("lambda", "function:f"), NOWHERE, "x", ""],
            "AttributeName": ["DisplayName", "Policy", "FilterPolicy", "RawMessageDelivery", "RedrivePolicy", "Nope"],
            "AttributeValue": ["true", "x", "", *POLICIES, *PATTERNS, *REDRIVES],
            "Attributes": [
                {"DisplayName": "x"},
                {"FilterPolicy": "{"},
                {"FilterPolicy": "5"},
                {"Nope": "1"},
                {"FifoTopic": "true"},
            ],
            "Message": ["m", "", '{"default": "x"}', "{"],
            "MessageStructure": ["json", "nope"],
            "Token": ["gone", ""],
            "NextToken": ["gone", "", "e30="],
            "PhoneNumber": ["+15550100", "x"],
        },
        only=frozenset({"Endpoint"}),
    ),
    [("CreateTopic", {"Name": "made-up"}), ("CreateTopic", {"Name": "made-up.fifo", "Attributes": {"FifoTopic": "true"}})],
)
EVENTS = Words(
    Vocabulary(
        {
            "Name": ["made-up", "default", "gone", "bad name"],
            "Rule": ["made-up", "gone"],
            "EventBusName": ["default", "made-up", arn("events", "event-bus/made-up"), "gone", "x:y"],
            "ArchiveName": ["made-up", "gone"],
            "ReplayName": ["made-up", "gone"],
            "EventPattern": PATTERNS,
            "Event": [
                '{"id": "1", "source": "a", "detail-type": "d", "account": "1", "time": "x", "region": "r", "resources": []}',
                "{",
                "5",
            ],
            "Detail": ["{}", "{", "5", "[]"],
            "ScheduleExpression": ["rate(5 minutes)", "rate(1 minutes)", "cron(0 0 * * ? *)", "cron(x)", "at(now)"],
            "Arn": [arn("sqs", "made-up"), arn("lambda", "function:f"), "x"],
            "EventSourceArn": [arn("events", "event-bus/default"), arn("events", "event-bus/gone")],
            "ResourceARN": [arn("events", "rule/made-up"), arn("events", "event-bus/made-up"), "x"],
            "RoleArn": [ROLE],
            "InputTemplate": ['"<a>"', "<a>", "{", ""],
            "InvocationEndpoint": ["https://127.0.0.1:1/x"],
            "AuthorizationEndpoint": ["https://127.0.0.1:1/x"],
            "ConnectionArn": [arn("events", "connection/made-up/00000000-0000-4000-8000-000000000000"), "x"],
            "Policy": POLICIES,
            "NextToken": ["gone", "e30="],
        },
        only=frozenset({"InvocationEndpoint", "AuthorizationEndpoint"}),
    ),
    [
        ("CreateEventBus", {"Name": "made-up"}),
        ("PutRule", {"Name": "made-up", "EventPattern": PATTERNS[0]}),
        ("CreateArchive", {"ArchiveName": "made-up", "EventSourceArn": arn("events", "event-bus/default")}),
    ],
)
SCHEDULER = Words(
    Vocabulary(
        {
            "Name": ["made-up", "gone", "bad name"],
            "GroupName": ["default", "made-up", "gone"],
            "ScheduleGroup": ["default", "made-up", "gone"],
            "ScheduleExpression": [
                "rate(5 days)",
                "at(2099-01-01T00:00:00)",
                "cron(0 0 1 1 ? 2099)",
                "cron(x)",
                "rate(0 days)",
                "",
            ],
            "ScheduleExpressionTimezone": ["UTC", "Europe/Berlin", "Nope/Nope", ""],
            "Arn": [arn("sqs", "made-up"), arn("lambda", "function:f"), "x"],
            "RoleArn": [ROLE, "x"],
            "ResourceArn": [arn("scheduler", "schedule-group/made-up"), arn("scheduler", "schedule-group/gone")],
            "NextToken": ["gone", "e30="],
        }
    ),
    [("CreateScheduleGroup", {"Name": "made-up"})],
)
WORDS = {"sqs": SQS, "sns": SNS, "eventbridge": EVENTS, "scheduler": SCHEDULER}
"""By the name of their facts; a service that is not here has no words of its own."""
