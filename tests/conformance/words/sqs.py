from __future__ import annotations

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT
from tests.conformance.words.words import ODD, PAGES, POLICIES, REDRIVES, Every, Made, Words, arn

URL = f"http://127.0.0.1:9000/{ACCOUNT}/made-up"
HANDLE, TASK = "AQE-the-handle-of-a-message", "AQE-the-handle-of-a-task"
ATTRIBUTE_VALUES = ["1", "x", "true", "-1", "", "9" * 30, *POLICIES, *REDRIVES]
SQS = Words(
    Vocabulary(
        {
            "QueueUrl": [URL, "made-up", "made-up.fifo", f"{URL}.fifo", "gone", "http://x/y", "http://[", *ODD],
            "QueueName": ["made-up", "made-up.fifo", "another", "bad name", *ODD],
            "QueueNamePrefix": ["made", "%", "_", *ODD],
            "Attribute": [
                "VisibilityTimeout", "DelaySeconds", "Policy", "FifoQueue", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId",
                "MaximumMessageSize", "QueueArn", "Nope",
            ],
            "AttributeValue": ATTRIBUTE_VALUES,
            "AttributeNames": [["All"], ["QueueArn"], ["Nope"]],
            "ReceiptHandle": [HANDLE, "gone", "MTIz", *ODD],
            "TaskHandle": [TASK, *PAGES],
            "SourceArn": [arn("sqs", "made-up"), arn("sqs", "another"), arn("sqs", "gone"), "x", *ODD],
            "DestinationArn": [arn("sqs", "another"), arn("sqs", "gone"), "x"],
            "MessageBody": ["body", "é" * 100, "x" * 1_100_000, *ODD],
            "MessageGroupId": ["g", "é", *ODD],
            "MessageDeduplicationId": ["d", "é", *ODD],
            "DataType": ["String", "Number", "Binary", "String.x", "Nope", ""],
            "StringValue": ["v", "1", "nan", "1e999", *ODD],
            "Id": ["1", "2", "bad id", *ODD],
            "AWSAccountIds": [[ACCOUNT], ["x"], []],
            "Actions": [["SendMessage"], ["*"], ["Nope"], []],
            "Label": ["l", *ODD],
            "TagKeys": [["a"], ["b"], []],
            "Tags": [{"a": "b"}, {}, {"": ""}, {"a\x00": "b"}],
            "MaxNumberOfMessages": [1, 10, 0, 11, -1],
            "VisibilityTimeout": [0, 1, 43_201, -1],
            "WaitTimeSeconds": [0, -1, 21],
            "DelaySeconds": [0, 1, 901, -1],
            "NextToken": PAGES,
        },
        only=frozenset({"WaitTimeSeconds"}),
        pairs={"Attributes": ("Attribute", "AttributeValue")},
    ),
    first=[
        Made("CreateQueue", {"QueueName": "made-up"}, {"QueueUrl": URL}),
        Made("CreateQueue", {"QueueName": "made-up.fifo", "Attributes": {"FifoQueue": "true"}}),
        Made("CreateQueue", {"QueueName": "another"}),
        Made("SendMessage", {"QueueUrl": "made-up", "MessageBody": "body"}),
        Made("ReceiveMessage", {"QueueUrl": "made-up", "VisibilityTimeout": 5}, {"Messages.0.ReceiptHandle": HANDLE}),
    ],
    every=[Every("SendMessage", {"QueueUrl": ["made-up", "made-up.fifo"], "MessageGroupId": ["g", ""], "MessageBody": ODD})],
)  # fmt: skip
