"""What PutTargets takes, and in which words it refuses the rest."""

from __future__ import annotations

from typing import Any

import pytest

from shared.domain import rule_targets, target_inputs

PLACE = "us-east-1:000000000000"
ROLE = "arn:aws:iam::000000000000:role/r"
UUID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("arn", "more"),
    [
        (f"arn:aws:lambda:{PLACE}:function:f:live", {}),
        (f"arn:aws:sqs:{PLACE}:q", {}),
        (f"arn:aws:sqs:{PLACE}:q.fifo", {"SqsParameters": {"MessageGroupId": "g"}}),
        (f"arn:aws:sns:{PLACE}:t", {}),
        (f"arn:aws:logs:{PLACE}:log-group:/aws/events/a", {}),
        (f"arn:aws:events:{PLACE}:event-bus/b", {}),
        ("arn:aws:events:eu-west-1:111111111111:event-bus/default", {}),
        (f"arn:aws:events:{PLACE}:api-destination/a/{UUID}", {"RoleArn": ROLE}),
        (f"arn:aws:states:{PLACE}:stateMachine:m", {"RoleArn": ROLE}),
        (f"arn:aws:kinesis:{PLACE}:stream/s", {"RoleArn": ROLE}),
        (f"arn:aws:firehose:{PLACE}:deliverystream/s", {"RoleArn": ROLE}),
        (f"arn:aws:execute-api:{PLACE}:abc123/test/POST/test", {"RoleArn": ROLE}),
        (f"arn:aws:ecs:{PLACE}:cluster/c", {"RoleArn": ROLE, "EcsParameters": {"TaskDefinitionArn": "t"}}),
        (f"arn:aws:codepipeline:{PLACE}:MyPipeline", {"RoleArn": ROLE}),
        ("kafka://orders", {}),
    ],
)
def test_whatever_aws_takes_is_taken(arn: str, more: dict[str, Any]) -> None:
    assert rule_targets.problem({"Id": "t", "Arn": arn, **more}) == ""


@pytest.mark.parametrize(
    ("arn", "expected"),
    [
        ("q", "Parameter q is not valid. Reason: Provided Arn is not in correct format."),
        ("arn:aws:s3:::bucket", "Parameter arn:aws:s3:::bucket is not valid. Reason: Provided Arn is not in correct format."),
        (
            f"arn:aws:logs:{PLACE}:log-group:a:*",
            f"Parameter arn:aws:logs:{PLACE}:log-group:a:* is not valid. Reason: Provided Arn is not in correct format.",
        ),
        (f"arn:aws:states:{PLACE}:stateMachine:m", f"RoleArn is required for target arn:aws:states:{PLACE}:stateMachine:m."),
        (f"arn:aws:ecs:{PLACE}:cluster/c", "Parameter(s) EcsParameters must be specified for target: t."),
        (f"arn:aws:sqs:{PLACE}:q.fifo", "Parameter(s) SqsParameters must be specified for target: t."),
    ],
)
def test_what_can_be_no_target_is_refused(arn: str, expected: str) -> None:
    assert rule_targets.problem({"Id": "t", "Arn": arn}) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"Input": '{"a": 1}'}, ""),
        ({"Input": '"hello"'}, ""),
        ({"Input": "hello"}, 'JSON syntax error in input for target t: [Source: (String)"hello"; line: 1, column: 6]'),
        (
            {"Input": "{}", "InputPath": "$.a"},
            "Only one of Input, InputPath, or InputTransformer must be provided for target t.",
        ),
        ({"InputPath": "detail"}, "Invalid InputPath for target t : detail is not a path."),
        ({"InputTransformer": {"InputTemplate": '"<a> \\"<b>\\""\n"<a>"', "InputPathsMap": {"a": "$.a", "b": "$.b"}}}, ""),
        (
            {
                "InputTransformer": {
                    "InputTemplate": '{"a": <a>, "b": "<a>-<aws.events.rule-arn>"}',
                    "InputPathsMap": {"a": "$"},
                }
            },
            "",
        ),
        ({"InputTransformer": {"InputTemplate": "<aws.events.event.json>"}}, ""),
        (
            {"InputTransformer": {"InputTemplate": '{"a": <b>}', "InputPathsMap": {"a": "$.a"}}},
            "InputTemplate for target t contains invalid placeholder b.",
        ),
        (
            {"InputTransformer": {"InputTemplate": '"<aws.events.other>"'}},
            "InputTemplate for target t contains invalid placeholder aws.events.other.",
        ),
        (
            {"InputTransformer": {"InputTemplate": "<a> happened", "InputPathsMap": {"a": "$.a"}}},
            'Invalid InputTemplate for target t : [Source: (String)"0 happened"; line: 1, column: 11].',
        ),
        (
            {"InputTransformer": {"InputTemplate": '{<a>: "x"}', "InputPathsMap": {"a": "$.a"}}},
            'Invalid InputTemplate for target t : [Source: (String)"{0: "x"}"; line: 1, column: 2].',
        ),
    ],
)
def test_how_a_target_is_to_get_its_event_is_looked_at(target: dict[str, Any], expected: str) -> None:
    assert target_inputs.problem({"Id": "t", **target}) == expected
