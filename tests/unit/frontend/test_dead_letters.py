"""What a message of a dead-letter queue says: of which event it is, and of which function."""

from __future__ import annotations

import pytest

from services.frontend.ledger.dead_letters import Letter, letter_of
from shared.queues.records import Attribute

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def texts(**values: str) -> dict[str, Attribute]:
    return {name: Attribute("String", value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("body", "attributes", "letter"),
    [
        (b'{"k": 1}', {"RequestID": "r", "ErrorCode": "200"}, Letter("r", "", b'{"k": 1}')),
        (b"no JSON \xff", {}, Letter("m", "", b"no JSON \xff")),
        (
            b'{"version": "1.0", "requestContext": {"requestId": "r", "functionArn": "%b:live", "condition": "RetriesExhausted"},'
            b' "requestPayload": {"k":  1}, "responsePayload": {}}' % ARN.encode(),
            {},
            Letter("r", f"{ARN}:live", b'{"k":  1}'),
        ),
        (
            b'{"requestContext": {"requestId": "other", "functionArn": "%b"}, "requestPayload": 1}' % ARN.encode(),
            {"RequestID": "r", "ErrorCode": "200"},
            # The event of a function that is another one's destination.
            Letter(
                "r", "", b'{"requestContext": {"requestId": "other", "functionArn": "%b"}, "requestPayload": 1}' % ARN.encode()
            ),
        ),
        (
            b'{"Type": "Notification", "TopicArn": "t", "Message": "{\\"k\\": 1}", "MessageAttributes": {"RequestID": '
            b'{"Type": "String", "Value": "r"}, "ErrorCode": {"Type": "Number", "Value": "200"}}}',
            {},
            Letter("r", "", b'{"k": 1}'),
        ),
        (
            b'{"Type": "Notification", "TopicArn": "t", "Message": "{\\"requestContext\\": {\\"requestId\\": \\"r\\", '
            b'\\"functionArn\\": \\"%b\\"}, \\"requestPayload\\": 1}"}' % ARN.encode(),
            {},
            Letter("r", ARN, b"1"),
        ),
        (
            b'{"Type": "Notification", "TopicArn": "t", "Message": "hi"}',
            {},
            Letter("m", "", b'{"Type": "Notification", "TopicArn": "t", "Message": "hi"}'),
        ),
        (b'{"detail": {}}', {"RULE_ARN": "r", "TARGET_ARN": ARN}, Letter("m", ARN, b'{"detail": {}}')),
        (b'{"detail": {}}', {"TARGET_ARN": "arn:aws:sqs:us-east-1:000000000000:q"}, Letter("m", "", b'{"detail": {}}')),
    ],
)
def test_a_dead_letter_is_an_event_a_record_or_what_a_rule_sent(
    body: bytes, attributes: dict[str, str], letter: Letter
) -> None:
    assert letter_of(body, texts(**attributes), "m") == letter
