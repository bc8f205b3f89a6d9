"""What the control plane says of environments whose version is no longer there: nobody will lease them any more."""

from __future__ import annotations

import msgspec

from shared.domain.functions import parts_of_version_key

_ANY = "*"


class Retirement(msgspec.Struct, frozen=True):
    """Of a function: everything, or one version of it (label: "$LATEST" or a number), or what that was before a revision."""

    function_id: str
    label: str | None = None
    before_revision: int | None = None

    def covers(self, version_key: str) -> bool:
        parts = parts_of_version_key(version_key)
        if parts is None:
            return False
        function_id, label, revision = parts
        return (
            function_id == self.function_id
            and self.label in (None, label)
            and (self.before_revision is None or revision < self.before_revision)
        )

    def encode(self) -> str:
        return f"{self.function_id} {self.label or _ANY} {_ANY if self.before_revision is None else self.before_revision}"


def decode(text: str) -> Retirement:
    """Raises ValueError."""
    function_id, label, revision = text.split(" ")
    return Retirement(function_id, None if label == _ANY else label, None if revision == _ANY else int(revision))
