"""Queues as SQS has them, on Redis: one stream a queue, and beside it what is known of its messages.

`queues.Queues` sends to them and receives from them; `records` says what goes in and comes out, `errors` what can go wrong.
What happens at once happens in one Lua script (lua/). An entry's first fields are message_id, body, attributes (JSON: name to
{"DataType", "StringValue"}, as SQS message attributes), md5_of_body and sent_at_ms: a stream may be read by others as well
(XREAD, XRANGE, a consumer group), and what they delete is deleted here.
"""

from __future__ import annotations

from shared.queues.errors import QueueUnavailableError
from shared.queues.kept_topics import KeptTopics
from shared.queues.keys import name_of, stream_key, topic_key
from shared.queues.queues import Queues
from shared.queues.records import Attribute

__all__ = ["Attribute", "KeptTopics", "QueueUnavailableError", "Queues", "name_of", "stream_key", "topic_key"]
