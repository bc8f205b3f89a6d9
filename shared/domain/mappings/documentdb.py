"""Rules of Amazon DocumentDB change streams as event sources.

Source: "Using Lambda with Amazon DocumentDB" in the Lambda developer guide.
"""

from __future__ import annotations

from shared.domain.mappings import SourceKind
from shared.domain.mappings.rules import START, KindRules, arn_form, unread

RULES = KindRules(
    SourceKind.DOCUMENTDB,
    arn=arn_form("rds", r"cluster:[a-zA-Z0-9-]{1,255}"),
    parameters=START | {"DocumentDBEventSourceConfig", "SourceAccessConfigurations"},
    required=("DocumentDBEventSourceConfig.DatabaseName", "SourceAccessConfigurations"),
    access=frozenset({"BASIC_AUTH"}),
    unread_result=unread("Amazon DocumentDB"),
)
