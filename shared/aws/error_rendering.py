"""How an error of Lambda looks on the wire: status, headers, body keys and their spelling."""

from __future__ import annotations

import msgspec

from shared.aws.protocols.protocol import Response
from shared.domain.errors import ApiError

CAPITAL_MESSAGE = frozenset(
    {
        "AccessDeniedException",
        "CallbackTimeoutException",
        "CodeSigningConfigNotFoundException",
        "CodeVerificationFailedException",
        "DurableExecutionAlreadyStartedException",
        "EC2AccessDeniedException",
        "EC2ThrottledException",
        "EC2UnexpectedException",
        "EFSIOException",
        "EFSMountConnectivityException",
        "EFSMountFailureException",
        "EFSMountTimeoutException",
        "ENILimitReachedException",
        "ENINotReadyException",
        "InvalidCodeSignatureException",
        "InvalidRuntimeException",
        "InvalidSecurityGroupIDException",
        "InvalidSubnetIDException",
        "InvalidZipFileException",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "NoPublishedVersionException",
        "PublicPolicyException",
        "RecursiveInvocationException",
        "RequestEntityTooLargeException",
        "ResourceInUseException",
        "ResourceNotFoundException",
        "S3FilesMountConnectivityException",
        "S3FilesMountFailureException",
        "S3FilesMountTimeoutException",
        "ServiceException",
        "ServiceQuotaExceededException",
        "SnapStartException",
        "SnapStartNotReadyException",
        "SnapStartRegenerationFailureException",
        "SnapStartTimeoutException",
        "SubnetIPAddressLimitReachedException",
    }
)
"""Errors whose body says `Message`; every other says `message`. As in the service model, and as seen for those it lacks."""

_encode = msgspec.json.Encoder(order="sorted").encode


def render(error: ApiError, request_id: str) -> Response:
    """Status, headers (lower-case names, content-length among them) and body of an error."""
    fields: dict[str, str | None] = {"Message" if error.code in CAPITAL_MESSAGE else "message": error.message or None}
    if error.fault is not None:
        fields["Type"] = error.fault
    fields.update(error.extra)
    body = _encode(fields)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-amzn-requestid", request_id.encode()),
        (b"x-amzn-errortype", error.code.encode()),
    ]
    return Response(error.status, headers, body)
