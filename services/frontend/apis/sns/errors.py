"""SNS's errors, and its way of saying that a parameter is wrong."""

from __future__ import annotations

from shared.aws.protocols.protocol import Params
from shared.aws.service_model import Kind, Operation
from shared.aws.validation import validate
from shared.domain.errors import ApiError, UserError, ValidationException

_CHECKED_BY_THE_MODEL = frozenset({"Attributes", "attributes"})
"""Parameters whose absence is told in the words that all services share."""


class InvalidParameterException(UserError):
    code = "InvalidParameterException"


class NotFoundException(UserError):
    code = "NotFoundException"
    status = 404


class AuthorizationErrorException(UserError):
    code = "AuthorizationErrorException"
    status = 403


class ValidationErrorException(UserError):
    code = "ValidationError"


class SubscriptionLimitExceededException(UserError):
    code = "SubscriptionLimitExceededException"
    status = 403


class TopicLimitExceededException(UserError):
    code = "TopicLimitExceededException"
    status = 403


class TagLimitExceededException(UserError):
    code = "TagLimitExceededException"


class BatchException(UserError):
    """A batch that is wrong as a whole. code: as the model names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class EndpointDisabledException(UserError):
    code = "EndpointDisabledException"


class UserException(UserError):
    """What the model calls UserErrorException."""

    code = "UserErrorException"


class InternalErrorException(ApiError):
    code = "InternalErrorException"


def invalid(parameter: str, reason: str = "") -> InvalidParameterException:
    return InvalidParameterException(f"Invalid parameter: {parameter}{f' Reason: {reason}' if reason else ''}")


def check(operation: Operation, params: Params) -> None:
    """Raises InvalidParameterException for a parameter that is not there, ValidationErrorException for what else the model's
    constraints say."""
    if operation.input is None:
        return
    for name in operation.input.required:
        member = operation.input.members[name]
        simple = member.shape.kind is Kind.STRING and name not in _CHECKED_BY_THE_MODEL
        if simple and params.get(name) is None and name[:1].isupper():
            raise invalid(name, "no value for required parameter")
    try:
        validate(operation, params)
    except ValidationException as error:
        raise ValidationErrorException(error.message) from None
