"""The one tree of errors. A boundary translates them; nothing in between catches what it cannot handle.

`ApiError` and its children carry what AWS puts on the wire: code, HTTP status and text; `shared/aws/error_rendering.py`
is the only module that knows how they look there.
"""

from __future__ import annotations


class LambdadError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigurationError(LambdadError):
    """The operator must change something; the text says what to do."""


class ApiError(LambdadError):
    """An error as an AWS client sees it.

    message: AWS's own wording. fault: "User" or "Service" (the body's Type; None leaves it out). extra: further body keys.
    """

    code = "ServiceException"
    status = 500
    fault: str | None = "Service"

    def __init__(self, message: str, *, extra: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra or {}


class ServiceException(ApiError):
    """The platform failed; the request may be tried again."""


class UserError(ApiError):
    status = 400
    fault: str | None = "User"


class ValidationException(UserError):
    """The request breaks the service model (ranges, patterns, enumerations)."""

    code = "ValidationException"
    fault = None


class InvalidParameterValueException(UserError):
    code = "InvalidParameterValueException"


class InvalidRequestContentException(UserError):
    code = "InvalidRequestContentException"


class SerializationException(UserError):
    """The body is not what the operation's shape says (wrong JSON type, malformed JSON)."""

    code = "SerializationException"
    fault = None


class NulCharacterException(SerializationException):
    """A text holds U+0000, which no field of an API may."""


class ResourceNotFoundException(UserError):
    code = "ResourceNotFoundException"
    status = 404


class ProvisionedConcurrencyConfigNotFoundException(UserError):
    code = "ProvisionedConcurrencyConfigNotFoundException"
    status = 404


class ResourceConflictException(UserError):
    code = "ResourceConflictException"
    status = 409


class ResourceInUseException(UserError):
    code = "ResourceInUseException"


class PreconditionFailedException(UserError):
    code = "PreconditionFailedException"
    status = 412


class CodeSigningConfigNotFoundException(UserError):
    code = "CodeSigningConfigNotFoundException"
    status = 404


class CodeVerificationFailedException(UserError):
    """Code that no allowed publisher signed, where that is enforced."""

    code = "CodeVerificationFailedException"


class InvalidCodeSignatureException(UserError):
    """Code whose signature belongs to other code."""

    code = "InvalidCodeSignatureException"


class PolicyLengthExceededException(UserError):
    code = "PolicyLengthExceededException"


class PublicPolicyException(UserError):
    code = "PublicPolicyException"


class RequestTooLargeException(UserError):
    code = "RequestTooLargeException"
    status = 413


class RequestEntityTooLargeException(UserError):
    code = "RequestEntityTooLargeException"
    status = 413


class UnsupportedMediaTypeException(UserError):
    code = "UnsupportedMediaTypeException"
    status = 415


class RecursiveInvocationException(UserError):
    """The chain of invocations that led here has run the function too often."""

    code = "RecursiveInvocationException"


class TooManyRequestsException(UserError):
    """reason: one of AWS's throttle reasons, e.g. ReservedFunctionConcurrentInvocationLimitExceeded."""

    code = "TooManyRequestsException"
    status = 429

    def __init__(self, reason: str, message: str = "Rate Exceeded.") -> None:
        super().__init__(message, extra={"Reason": reason})
        self.reason = reason


class AuthError(ApiError):
    """A signature that is wrong, missing, stale or tampered with: 403, before any route is looked at."""

    status = 403
    fault = None

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AccessDeniedException(ApiError):
    """A resource of another account. AWS's body is `{"message": null}`: the renderer writes null for an empty message."""

    code = "AccessDeniedException"
    status = 403
    fault = None

    def __init__(self, message: str = "") -> None:
        super().__init__(message)


class CannotRunError(ApiError):
    """No worker runs the function as it is: it did not run, and trying again is of no use."""

    status = 502


class InvalidRuntimeException(CannotRunError):
    """No worker has its runtime."""

    code = "InvalidRuntimeException"


class InvalidZipFileException(CannotRunError):
    """The function's code cannot be unpacked, on any worker."""

    code = "InvalidZipFileException"

    def __init__(self, reason: str) -> None:
        super().__init__(f"Lambda could not unzip the deployment package: {reason}.")


class DispatchError(LambdadError):
    """Base of what `shared.dispatch` raises besides throttling."""


class StaleTargetError(DispatchError):
    """The registry has a newer revision than the caller's target: reload it and call again. Nothing ran."""


class NoCapacityError(DispatchError):
    """No worker had room before the deadline. Nothing ran."""


class NotStartedError(DispatchError):
    """Workers were reached before the deadline and refused to start it; the text is for the operator. Nothing ran."""


class StartFailedError(NotStartedError):
    """And the last one because it cannot: it lacks the runtime, or the environment could not be made. Nothing ran."""


class DispatchUnavailableError(DispatchError):
    """Redis, or every worker, could not be reached before the deadline. Nothing ran."""


class InvocationLostError(DispatchError):
    """The connection ended after the request's bytes may have reached a function: whether it ran is unknown.

    A synchronous invoke is never executed again by the platform; at-least-once callers (poller, router) may.
    """


class ResponseLostError(InvocationLostError):
    """The function ran, and its response is incomplete or lost. For at-least-once callers that was an attempt that failed."""
