from __future__ import annotations

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT
from tests.conformance.words.words import DEEP, NOWHERE, ODD, PAGES, PATTERNS, POLICIES, REDRIVES, Every, Made, Words, arn

TOPIC, SUBSCRIPTION = arn("sns", "made-up"), arn("sns", "made-up:00000000-0000-4000-8000-000000000000")
APPLICATION, ENDPOINT = arn("sns", "app/ADM/made-up"), arn("sns", "endpoint/ADM/made-up/00000000-0000-4000-8000-000000000000")
POLICIES_OF_DELIVERY = [
    '{"http": {}}',
    '{"http": {"defaultHealthyRetryPolicy": {"numRetries": 1e400}}}',
    '{"http": {"defaultHealthyRetryPolicy": []}}',
    '{"healthyRetryPolicy": []}',
]
ATTRIBUTES = [
    "DisplayName", "Policy", "DeliveryPolicy", "SignatureVersion", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery",
    "RedrivePolicy", "ContentBasedDeduplication", "FifoTopic", "LambdaSuccessFeedbackSampleRate", "TracingConfig", "Enabled",
    "CustomUserData", "Token", "PlatformCredential", "DefaultSMSType", "Nope", "a..b", "é",
]  # fmt: skip
VALUES = ["true", "1", "x", "MessageBody", *POLICIES_OF_DELIVERY, *POLICIES, *PATTERNS, *REDRIVES]
HARD = [
    "true", "1", "MessageBody", "{}", "{", "[]", "[" * 5_000, '{"deadLetterTargetArn": 5}', *POLICIES_OF_DELIVERY, '{"Statement": [5]}',
    '{"Statement": {"Effect": "Allow"}}', '{"a": ["b"]}', '{"a": [{"numeric": [">", 1e999]}]}', '{"a": [' + "9" * 5_000 + "]}", "a\x00b",
]  # fmt: skip
"""Of every kind of attribute, what others of that kind are not."""
MESSAGES = ["m", '{"default": "x"}', '{"default": "a", "sqs": 1}', "{", "x" * 262_145, *DEEP, *ODD]
SNS = Words(
    Vocabulary(
        {
            "TopicArn": [TOPIC, f"{TOPIC}.fifo", f"{TOPIC}-gone", f"arn:aws:sns:eu-west-1:{ACCOUNT}:made-up", "arn:aws:sns:::", "x"],
            "TargetArn": [TOPIC, ENDPOINT, f"{TOPIC}-gone", "x"],
            "ResourceArn": [TOPIC, f"{TOPIC}-gone", "x"],
            "SubscriptionArn": [SUBSCRIPTION, f"{TOPIC}:x", TOPIC, "PendingConfirmation", "x"],
            "Name": ["made-up", "made-up.fifo", "another", "bad name", ""],
            "Protocol": ["sqs", "lambda", "http", "https", "sms", "email", "application", "firehose", "nope"],
            "Endpoint": [
                arn("sqs", "made-up"), arn("sqs", "made-up.fifo"), arn("lambda", "function:f"), NOWHERE, "http://[::1", "http://a:99999/",
                "+15550100", "a@b", "x", *ODD,
            ],
            "AttributeName": ATTRIBUTES,
            "AttributeValue": VALUES,
            "Message": MESSAGES,
            "MessageStructure": ["json", "nope", ""],
            "DataType": ["String", "Number", "Binary", "String.Array", "Number.", "Nope"],
            "StringValue": ["v", "1", "nan", "1e999", "[1", *ODD],
            "Id": ["1", "2", ""],
            "MessageGroupId": ["g", *ODD],
            "MessageDeduplicationId": ["d", *ODD],
            "PlatformApplicationArn": [APPLICATION, f"{APPLICATION}-gone", arn("sns", "app/ADM")],
            "EndpointArn": [ENDPOINT, APPLICATION],
            "Platform": ["ADM", "APNS", "AAA"],
            "Token": ["0f" * 144, "gone", ""],
            "Label": ["l", "__default_statement_ID", *ODD],
            "AWSAccountId": [[ACCOUNT], ["x"], []],
            "ActionName": [["Publish"], ["*"], ["Nothing"], []],
            "NextToken": PAGES,
            "PhoneNumber": ["+15550100", "x"],
            "phoneNumber": ["+15550100", "x"],
        },
        only=frozenset({"Endpoint"}),
        pairs={"Attributes": ("AttributeName", "AttributeValue"), "attributes": ("AttributeName", "AttributeValue")},
    ),
    first=[
        Made("CreateTopic", {"Name": "made-up"}),
        Made("CreateTopic", {"Name": "made-up.fifo", "Attributes": {"FifoTopic": "true"}}),
        Made("Subscribe", {"TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": arn("sqs", "made-up")}, {"SubscriptionArn": SUBSCRIPTION}),
        Made("CreatePlatformApplication", {"Name": "made-up", "Platform": "ADM", "Attributes": {"PlatformCredential": "x"}}),
        Made("CreatePlatformEndpoint", {"PlatformApplicationArn": APPLICATION, "Token": "t"}, {"EndpointArn": ENDPOINT}),
    ],
    every=[
        Every("SetTopicAttributes", {"TopicArn": [TOPIC], "AttributeName": ATTRIBUTES[:12], "AttributeValue": HARD}),
        Every("SetSubscriptionAttributes", {"SubscriptionArn": [SUBSCRIPTION], "AttributeName": ATTRIBUTES[:12], "AttributeValue": HARD}),
    ],
)  # fmt: skip
"""What an attribute is made of is up to whoever sends it: every one is set to every value."""
