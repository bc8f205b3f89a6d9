"""AWS's event patterns: rules of event buses, filters of event source mappings, and the operators of SNS's filter policies."""

from __future__ import annotations

from shared.domain.event_patterns.pattern import EventPattern
from shared.domain.event_patterns.rule_set import RuleSet
from shared.domain.event_patterns.tokens import PatternError
from shared.domain.event_patterns.values import Number, parse_json

__all__ = ["EventPattern", "Number", "PatternError", "RuleSet", "parse_json"]
