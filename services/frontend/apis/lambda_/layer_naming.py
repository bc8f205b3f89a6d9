"""Which layer or layer version a request means, and what is said when there is none."""

from __future__ import annotations

from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.arns import PARTITION, LayerReference, layer_arn, parse_layer_reference
from shared.domain.errors import AccessDeniedException, InvalidParameterValueException, ResourceNotFoundException

NUMBER_MAX = 2**63 - 1
"""What the registry can hold; the service model has no bound."""


def named(ctx: ControlContext, layer: str) -> str:
    """The name of a layer of this account and region, from its name or ARN.

    Raises ResourceNotFoundException (other region), AccessDeniedException (other account).
    """
    return _reachable(ctx, parse_layer_reference(layer), "").name


def named_version(ctx: ControlContext, request: Request) -> tuple[str, int]:
    """(name, number) of a request. Raises InvalidParameterValueException for a number that no version can have."""
    number = int(request["VersionNumber"])
    if number < 1:
        raise InvalidParameterValueException("Layer Version Cannot be less than 1")
    return named(ctx, request["LayerName"]), number


def version_of_arn(ctx: ControlContext, arn_: str) -> tuple[str, int]:
    """(name, number) of a layer version's ARN; 0, which no version has, for ARNs of AWS's own layers."""
    reference = _reachable(ctx, parse_layer_reference(arn_), arn_)
    return reference.name, reference.number or 0


def _reachable(ctx: ControlContext, reference: LayerReference, arn_: str) -> LayerReference:
    home = ctx.home
    if reference.region is not None and reference.region != home.region:
        raise ResourceNotFoundException(f"Layers from '{reference.region}' are not reachable in this region ('{home.region}')")
    if reference.account is not None and reference.account != home.account_id:
        raise denied(ctx, arn_) if arn_ else AccessDeniedException()
    return reference


def denied(ctx: ControlContext, layer_version_arn: str) -> AccessDeniedException:
    """Another account's layer: nobody has given this account permission, for there are no other accounts here."""
    return AccessDeniedException(
        f"User: arn:{PARTITION}:iam::{ctx.home.account_id}:root is not authorized to perform: lambda:GetLayerVersion "
        f"on resource: {layer_version_arn} because no resource-based policy allows the lambda:GetLayerVersion action"
    )


def arn(ctx: ControlContext, name: str, number: int | None = None) -> str:
    return layer_arn(ctx.home, name, number)


def not_found(ctx: ControlContext, name: str, number: int) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Layer version {arn(ctx, name, number)} does not exist.")
