"""Which AWS service a request is for, and in which protocol it speaks: read from its headers and its query alone.

The signature's scope says it; a request without one may say it by X-Amz-Target, by the path of Smithy's RPC protocol or by its
host name. What says nothing is Lambda's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

LAMBDA = "lambda"
FORM = b"application/x-www-form-urlencoded"
OLD_LINK = b"AWSAccessKeyId="
"""In the query of S3's links that were signed with Signature Version 2."""
_SCOPE = re.compile(rb"Credential=[^,\s]*/([A-Za-z0-9-]+)/aws4_request")
_PRESIGNED = re.compile(rb"(?:^|&)X-Amz-Credential=([^&]*)")
_ACTION = re.compile(rb"(?:^|&)Action=")
_LINKED_ACTION = re.compile(rb"(?:^|&)Action=([A-Za-z0-9]{1,64})(?:&|$)")
_RPC_PATH = re.compile(rb"/service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_.]+)")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d")
_AWS_HOST = re.compile(r"(.+)\.amazonaws\.com(?:\.cn)?(?::\d+)?")


def service_of(scope: Mapping[str, Any], targets: Mapping[str, str]) -> str:
    """The service's name in signatures, or that which `targets` has for the request's target: of two services that share
    a name in signatures, only their targets tell.

    targets: what X-Amz-Target begins with, and what a path of Smithy's RPC protocol names, to a service's name.
    """
    signed = target = host = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            if b"/lambda/aws4_request" in value:
                return LAMBDA
            signed = _SCOPE.search(value)
        elif name == b"x-amz-target":
            target = value.decode("latin-1").rpartition(".")[0]
        elif name == b"host":
            host = value
    if target is None and scope["raw_path"].startswith(b"/service/"):
        found = _RPC_PATH.fullmatch(scope["raw_path"])
        target = found[1].decode("latin-1") if found is not None else None
    if target is not None and target in targets:
        return targets[target]
    if signed is not None:
        return signed[1].decode()
    presigned = _PRESIGNED.search(scope["query_string"])
    if presigned is not None:
        parts = unquote(presigned[1].decode("latin-1")).split("/")
        if len(parts) >= 5:
            return parts[-2]
    if OLD_LINK in scope["query_string"]:
        return "s3"
    return _of_host(host) or LAMBDA


def _of_host(host: bytes | None) -> str | None:
    """Of a name as AWS's endpoints have it (`sqs.us-east-1.amazonaws.com`); of S3's with a bucket in front, too."""
    found = None if host is None else _AWS_HOST.fullmatch(host.decode("latin-1").lower())
    if found is None:
        return None
    labels = [label for label in found[1].split(".") if _REGION.fullmatch(label) is None]
    if any(label == "s3" or label.startswith("s3-") for label in labels):
        return "s3"
    return labels[-1] if labels else None


def spoken(scope: Mapping[str, Any]) -> str | None:
    """The protocol, by its name in botocore's models; None where only the service tells."""
    for name, value in scope["headers"]:
        if name == b"smithy-protocol":
            return "smithy-rpc-v2-cbor" if value == b"rpc-v2-cbor" else None
        if name == b"x-amz-target" or (name == b"content-type" and value.startswith(b"application/x-amz-json")):
            return "json"
        if name == b"content-type" and value.startswith(FORM):
            return "query"
    # A form may come in the query of a GET.
    return "query" if _ACTION.search(scope["query_string"]) is not None else None


def linked(scope: Mapping[str, Any]) -> str | None:
    """The Action of a GET that nobody signed."""
    query = scope["query_string"]
    if scope["method"] != "GET" or _PRESIGNED.search(query) is not None:
        return None
    if any(name == b"authorization" for name, _ in scope["headers"]):
        return None
    found = _LINKED_ACTION.search(query)
    return None if found is None else found[1].decode()


def operation_named(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
    """By X-Amz-Target or the path of Smithy's RPC protocol; empty for none."""
    found = _RPC_PATH.fullmatch(scope["raw_path"])
    if found is not None:
        return found[2].decode("latin-1")
    return headers.get(b"x-amz-target", b"").decode("latin-1").rpartition(".")[2]
