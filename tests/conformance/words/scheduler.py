from __future__ import annotations

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT
from tests.conformance.words.words import ODD, PAGES, ROLE, Every, Made, Words, arn

GROUP, SDK = arn("scheduler", "schedule-group"), "arn:aws:scheduler:::aws-sdk"
TARGET = {"Arn": arn("sqs", "made-up"), "RoleArn": ROLE}
OFF = {"Mode": "OFF"}
RATE = "rate(5 days)"
SCHEDULER = Words(
    Vocabulary(
        {
            "Name": ["made-up", "another", "gone", "default", "bad name", "x" * 64],
            "GroupName": ["default", "made-up", "gone"],
            "ScheduleGroup": ["default", "made-up", "gone"],
            "ScheduleExpression": [
                RATE, "at(2099-01-01T00:00:00)", "cron(0 0 1 1 ? 2099)", "cron(0 0 ? * 6L *)", "at(0001-01-01T00:00:00)", "cron(* * * * * *)",
                "cron(x)", "rate(0 days)", "rate(9999999999 days)", *ODD,
            ],
            "ScheduleExpressionTimezone": ["UTC", "Europe/Berlin", "Mars/Olympus", "../../etc/passwd", *ODD],
            "StartDate": [1_900_000_000, 1e11, -62_135_596_800, 0.5],
            "EndDate": [1_900_000_001, 2e11, 0],
            "FlexibleTimeWindow": [OFF, {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 1440}, {"Mode": "FLEXIBLE"}],
            "Target": [
                TARGET,
                {**TARGET, "RetryPolicy": {"MaximumRetryAttempts": 0}, "DeadLetterConfig": {}},
                {**TARGET, "Arn": f"{SDK}:sqs:sendMessage", "Input": '{"QueueUrl": "u", "MessageBody": "m"}'},
                {**TARGET, "Arn": f"{SDK}:eventbridge:putEvents", "Input": '{"Entries": [{"Detail": 1}]}'},
                {**TARGET, "Arn": arn("lambda", "function:f"), "Input": "\ud800"},
                {**TARGET, "Input": "a\x00b"},
            ],
            "Arn": [arn("sqs", "made-up"), arn("lambda", "function:f"), "x"],
            "RoleArn": [ROLE, "x"],
            "State": ["ENABLED", "DISABLED"],
            "Description": ["text", *ODD],
            "ActionAfterCompletion": ["NONE", "DELETE"],
            "ClientToken": ["t", "u"],
            "ResourceArn": [f"{GROUP}/made-up", f"{GROUP}/gone", f"{GROUP}/default", f"arn:aws:scheduler:eu-west-1:{ACCOUNT}:schedule-group/a"],
            "Tags": [
                [{"Key": "a", "Value": "b"}], [], [{"Key": "a", "Value": "b"}] * 2, [{"Key": "a\x00", "Value": "b"}],
                [{"Key": str(number), "Value": "v"} for number in range(51)],
            ],
            "TagKeys": [["a"], ["a", "b"]],
            "NamePrefix": ["made", "%", "_", "."],
            "NextToken": PAGES,
            "MaxResults": [1, 100],
        }
    ),
    first=[
        Made("CreateScheduleGroup", {"Name": "made-up"}),
        Made("CreateSchedule", {"Name": "made-up", "ScheduleExpression": RATE, "FlexibleTimeWindow": OFF, "Target": TARGET}),
    ],
    every=[
        Every(
            "CreateSchedule",
            {
                "Name": ["odd"], "ScheduleExpression": [RATE], "FlexibleTimeWindow": [OFF], "Description": ODD,
                "Target": [{**TARGET, "Input": text} for text in ODD],
            },
        ),
        Every("CreateScheduleGroup", {"Name": ["odd"], "Tags": [[{"Key": key, "Value": value}] for key in ODD for value in ODD]}),
    ],
)  # fmt: skip
