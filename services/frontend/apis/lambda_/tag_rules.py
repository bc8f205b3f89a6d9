"""How many tags a resource may have."""

from __future__ import annotations

from collections.abc import Mapping

from shared.domain.errors import InvalidParameterValueException

TAGS_MAX = 50


def merged(current: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Raises InvalidParameterValueException when that is more than a resource may have."""
    tags = {**current, **added}
    if len(tags) > TAGS_MAX:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")
    return tags
