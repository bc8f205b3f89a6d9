"""Patterns as requests bring them, and TestEventPattern."""

from __future__ import annotations

import json
from typing import Any

from services.frontend.apis.events.context import EventsContext, Reply
from services.frontend.apis.events.errors import InvalidEventPatternException
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.errors import ValidationException
from shared.domain.event_patterns import EventPattern, PatternError

TOO_COMPLEX = (
    "Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard "
    "character"
)
MANDATORY = ("id", "account", "source", "time", "region", "detail-type")


def compiled(text: str) -> EventPattern:
    """Raises InvalidEventPatternException."""
    try:
        pattern = EventPattern(text)
    except PatternError as error:
        raise InvalidEventPatternException(str(error)) from None
    if pattern.too_complex:
        raise InvalidEventPatternException(TOO_COMPLEX)
    return pattern


async def test_event_pattern(ctx: EventsContext, call: Call, params: Params) -> Reply:
    del ctx, call
    pattern = compiled(params["EventPattern"])
    return {"Result": pattern.matches(_event(params["Event"]))}


def _event(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not all(name in event for name in MANDATORY):
        raise ValidationException("Parameter Event is not valid.")
    return event
