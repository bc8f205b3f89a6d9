"""EventBridge's errors, all with 400, and the words that several operations have for the same thing."""

from __future__ import annotations

from shared.domain.errors import UserError


class ResourceNotFoundException(UserError):
    code = "ResourceNotFoundException"


class ResourceAlreadyExistsException(UserError):
    code = "ResourceAlreadyExistsException"


class InvalidEventPatternException(UserError):
    code = "InvalidEventPatternException"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Event pattern is not valid. Reason: {reason}")


class LimitExceededException(UserError):
    code = "LimitExceededException"

    def __init__(self, message: str = "The requested resource exceeds the maximum number allowed.") -> None:
        super().__init__(message)


class PolicyLengthExceededException(UserError):
    code = "PolicyLengthExceededException"

    def __init__(self) -> None:
        super().__init__("The event bus policy is too long.")


class IllegalStatusException(UserError):
    code = "IllegalStatusException"


def no_bus(name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Event bus {name} does not exist.")


def no_rule(bus: str, name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Rule {name} does not exist on EventBus {bus}.")
