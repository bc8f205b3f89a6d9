"""What is wrong with how a target is to get its event: Input, InputPath, InputTransformer, in the words of PutTargets. Pure.

Source: error texts that users of AWS reported; "The InputTemplate must be valid JSON" in the API reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.domain.event_patterns.json_faults import place_of_fault
from shared.domain.input_transformers import PREDEFINED, Path, placeholders, without_placeholders

INPUTS = ("Input", "InputPath", "InputTransformer")
VARIABLES = frozenset(
    f"{PREDEFINED}{name}" for name in ("rule-arn", "rule-name", "event.ingestion-time", "event", "event.json")
)


def problem(target: Mapping[str, Any]) -> str:
    """target: as PutTargets brings it. "" where nothing is wrong."""
    identity = target["Id"]
    if sum(target.get(name) is not None for name in INPUTS) > 1:
        return f"Only one of Input, InputPath, or InputTransformer must be provided for target {identity}."
    if target.get("Input") is not None:
        place = place_of_fault(target["Input"])
        return f"JSON syntax error in input for target {identity}: {place}" if place else ""
    transformer = target.get("InputTransformer") or {}
    paths = transformer.get("InputPathsMap") or {}
    for path in (target.get("InputPath"), *paths.values()):
        if path and (why := _no_path(path)):
            return f"Invalid InputPath for target {identity} : {why}."
    return _template_problem(identity, transformer["InputTemplate"], paths) if transformer else ""


def _template_problem(identity: str, template: str, paths: Mapping[str, str]) -> str:
    for name in paths:
        if name.upper().startswith("AWS."):
            return f"InputPathsMap for target {identity} contains the reserved key {name}."
    for name in placeholders(template):
        if name not in paths and name not in VARIABLES:
            return f"InputTemplate for target {identity} contains invalid placeholder {name}."
    place = place_of_fault(without_placeholders(template))
    return f"Invalid InputTemplate for target {identity} : {place}." if place else ""


def _no_path(text: str) -> str:
    try:
        Path(text)
    except ValueError as error:
        return str(error)
    return ""
