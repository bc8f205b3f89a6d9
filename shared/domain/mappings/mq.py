"""Rules of Amazon MQ brokers as event sources.

Source: "Using Lambda with Amazon MQ" in the Lambda developer guide.
"""

from __future__ import annotations

from shared.domain.mappings import SourceKind
from shared.domain.mappings.rules import KindRules, arn_form, unread

RULES = KindRules(
    SourceKind.MQ,
    arn=arn_form("mq", r"broker:[a-zA-Z0-9_-]{1,100}:[a-zA-Z0-9-]+"),
    parameters=frozenset({"Queues", "SourceAccessConfigurations"}),
    required=("Queues", "SourceAccessConfigurations"),
    access=frozenset({"BASIC_AUTH", "VIRTUAL_HOST"}),
    data_field="data",
    data_may_be_text=True,
    unread_result=unread("Amazon MQ"),
)
