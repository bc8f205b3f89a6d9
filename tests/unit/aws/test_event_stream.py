"""Event stream messages, read by botocore."""

from __future__ import annotations

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from shared.aws import event_stream


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_client_reads_back_what_was_sent(payloads: list[bytes]) -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(event_stream.event("PayloadChunk", event_stream.OCTETS, payload) for payload in payloads))
    messages = list(buffer)
    assert [message.payload for message in messages] == payloads
    for message in messages:
        assert message.headers == {
            ":event-type": "PayloadChunk",
            ":content-type": "application/octet-stream",
            ":message-type": "event",
        }


def test_a_message_that_no_client_takes_is_not_made() -> None:
    with pytest.raises(ValueError, match="at most"):
        event_stream.event("PayloadChunk", event_stream.OCTETS, bytes(event_stream.PAYLOAD_BYTES_MAX + 1))
