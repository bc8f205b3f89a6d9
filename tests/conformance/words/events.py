from __future__ import annotations

import json

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT
from tests.conformance.words.words import NOWHERE, ODD, PAGES, PATTERNS, POLICIES, ROLE, Every, Made, Words, arn

BUS, QUEUE, RULE = arn("events", "event-bus/made-up"), arn("sqs", "made-up"), arn("events", "rule/made-up")
CONNECTION = arn("events", "connection/made-up/00000000-0000-4000-8000-000000000000")
ARCHIVE = arn("events", "archive/made-up")
EVENT = (
    '{"id": "1", "account": "0", "source": "a", "time": "t", "region": "r", "detail-type": "d", "resources": [], "detail": %s}'
)
ENTRY = {"Source": "a", "DetailType": "b", "Detail": "{}"}
LARGE = {"Source": "a", "DetailType": "b", "Detail": '{"n": 1e999, "m": ' + "9" * 400 + "}", "Time": -62_135_596_800}
EVENTS = Words(
    Vocabulary(
        {
            "Name": ["made-up", "another", "default", "gone", "bad name", "x" * 64],
            "NamePrefix": ["made", "%", "_"],
            "Rule": ["made-up", "gone"],
            "EventBusName": ["default", "made-up", BUS, "gone", "x:y", f"arn:aws:events:eu-west-1:{ACCOUNT}:event-bus/made-up"],
            "ArchiveName": ["made-up", "another", "gone"],
            "ReplayName": ["made-up", "gone"],
            "EventPattern": PATTERNS,
            "Event": [EVENT % "{}", EVENT % ("[" * 2_000), EVENT % '{"a": 1e999}', "{", "5", "[]", *ODD],
            "Detail": ["{}", "{", "5", "[]", "[" * 5_000, *ODD],
            "ScheduleExpression": [
                "rate(5 minutes)", "rate(1 minutes)", "cron(0 0 ? * 6L *)", "cron(* * * * * *)", "cron(x)", "rate(9999999999 days)", "at(now)",
                *ODD,
            ],
            "State": ["ENABLED", "DISABLED", "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "RUNNING"],
            "Description": ["text", *ODD],
            "Targets": [
                [{"Id": "a", "Arn": QUEUE}],
                [{"Id": "a", "Arn": QUEUE, "InputPath": "$.detail"}, {"Id": "b", "Arn": f"{QUEUE}.fifo"}],
                [{"Id": "a", "Arn": QUEUE, "InputPath": "$..["}],
                [{"Id": "a", "Arn": QUEUE, "Input": text} for text in ODD],
                [{"Id": "a", "Arn": QUEUE, "InputTransformer": {"InputPathsMap": {"a": "$.a", "b": "$["}, "InputTemplate": "<a>"}}],
                [{"Id": "a", "Arn": QUEUE, "SqsParameters": {}, "RetryPolicy": {}, "DeadLetterConfig": {}}],
                [{"Id": "a", "Arn": text} for text in ("kafka://t", arn("logs", "log-group:l"), "x", "arn:aws:sqs:::q")],
                [None],
            ],
            "Entries": [
                [ENTRY], [{**ENTRY, "EventBusName": "made-up"}], [{**ENTRY, "EventBusName": "gone"}], [{**ENTRY, "EventBusName": BUS}],
                [{**ENTRY, "EventBusName": "arn:aws:events:r:0:event-bus/a"}], [{**ENTRY, "Detail": "[" * 5_000}], [LARGE], [{}], [None],
                [ENTRY] * 11, *([{"Source": text, "DetailType": text, "Detail": json.dumps({"a": text})}] for text in ODD),
            ],
            "Ids": [["a"], ["gone", "a"]],
            "Arn": [QUEUE, arn("lambda", "function:f"), "x"],
            "TargetArn": [QUEUE, *ODD],
            "EventSourceArn": [arn("events", "event-bus/default"), BUS, ARCHIVE, f"{ARCHIVE}-gone", "arn:aws:events:::event-bus/a"],
            "Destination": [{"Arn": BUS}, {"Arn": BUS, "FilterArns": [f"{RULE}/a"]}, {"Arn": "arn:aws:events:::event-bus/a"}],
            "EventStartTime": [1_700_000_000, 0, -62_135_596_800, 1e11],
            "EventEndTime": [1_800_000_000, 0.5, 2e11],
            "RetentionDays": [0, 1, 36_500, 2_147_483_647],
            "ResourceARN": [BUS, RULE, f"{RULE}/a", f"{BUS}-gone", "arn:aws:events:::event-bus/", "x" * 20, *ODD],
            "RoleArn": [ROLE, *ODD],
            "InputTemplate": ['"<a>"', "<a>", "{", ""],
            "InvocationEndpoint": ["https://127.0.0.1:1/x", "x"],
            "AuthorizationEndpoint": ["https://127.0.0.1:1/x"],
            "AuthorizationType": ["BASIC", "API_KEY", "OAUTH_CLIENT_CREDENTIALS"],
            "AuthParameters": [
                {"BasicAuthParameters": {"Username": "u", "Password": "p"}},
                {"ApiKeyAuthParameters": {"ApiKeyName": "n", "ApiKeyValue": "v"},
                 "InvocationHttpParameters": {"HeaderParameters": [{"Key": "k", "Value": "v", "IsValueSecret": True}]}},
                {},
            ],
            "ConnectionArn": [CONNECTION, arn("events", "connection/gone/x"), "x"],
            "HttpMethod": ["POST", "GET"],
            "InvocationRateLimitPerSecond": [1, 300],
            "Action": ["events:PutEvents", "nope"],
            "Principal": ["*", "123456789012", "x"],
            "StatementId": ["a", "b"],
            "Condition": [{"Type": "StringEquals", "Key": "aws:PrincipalOrgID", "Value": "o"}, {}],
            "Policy": POLICIES,
            "Tags": [
                [{"Key": "a", "Value": "b"}], [], [{"Key": "a", "Value": "b"}] * 2, [{"Key": "a\x00", "Value": "b"}],
                [{"Key": str(number), "Value": "v"} for number in range(51)],
            ],
            "TagKeys": [["a"], ["b"]],
            "Limit": [1, 100],
            "NextToken": PAGES,
        },
        only=frozenset({"InvocationEndpoint", "AuthorizationEndpoint"}),
    ),
    first=[
        Made("CreateEventBus", {"Name": "made-up"}),
        Made("PutRule", {"Name": "made-up", "EventPattern": PATTERNS[0]}),
        Made("CreateArchive", {"ArchiveName": "made-up", "EventSourceArn": arn("events", "event-bus/default")}),
        Made(
            "CreateConnection",
            {"Name": "made-up", "AuthorizationType": "BASIC", "AuthParameters": {"BasicAuthParameters": {"Username": "u", "Password": "p"}}},
            {"ConnectionArn": CONNECTION},
        ),
        Made(
            "CreateApiDestination",
            {"Name": "made-up", "ConnectionArn": CONNECTION, "InvocationEndpoint": NOWHERE, "HttpMethod": "POST"},
        ),
    ],
    every=[Every("PutRule", {"Name": ["made-up"], "EventPattern": PATTERNS, "Description": ["text", *ODD]})],
)  # fmt: skip
