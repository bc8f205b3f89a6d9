"""Layers of a function: from the ARNs of a request to what the function notes of them, within AWS's limits."""

from __future__ import annotations

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from services.frontend.apis.lambda_ import layer_naming
from services.frontend.apis.lambda_.context import ControlContext, Request
from shared.domain.arns import parse_layer_reference
from shared.domain.errors import InvalidParameterValueException
from shared.domain.limits import UNZIPPED_BYTES_MAX
from shared.packages.archive import ENTRIES_MAX
from shared.registry import layers, stored_packages
from shared.registry.records import AttachedLayer, FunctionConfiguration

LAYERS_MAX = 5


def check(ctx: ControlContext, arns: list[str]) -> None:
    """What can be told of a request's layers without the registry. Raises InvalidParameterValueException."""
    if len(arns) > LAYERS_MAX:
        raise InvalidParameterValueException(f"Cannot reference more than {LAYERS_MAX} layers.")
    region = ctx.home.region
    seen: dict[str, str] = {}
    for arn in arns:
        if parse_layer_reference(arn).region != region:
            raise InvalidParameterValueException(
                f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )
        base = arn.rpartition(":")[0]
        if base in seen:
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[base]} and {arn} are versions of the same layer."
            )
        seen[base] = arn


async def attach(
    ctx: ControlContext, connection: AsyncConnection, configuration: FunctionConfiguration, request: Request
) -> FunctionConfiguration:
    """`configuration` with the layers that the request names, if it does, kept from deletion until the transaction ends.

    Raises InvalidParameterValueException for one that does not exist and for too many files in all, AccessDeniedException for
    another account's.
    """
    arns = request.get("Layers")
    if arns is None:
        return configuration
    wanted: list[tuple[str, int]] = []
    for arn in arns:
        reference = parse_layer_reference(arn)
        if reference.account != ctx.home.account_id:
            raise layer_naming.denied(ctx, arn)
        wanted.append((reference.name, reference.number or 0))
    held = (
        await layers.hold(connection, ctx.home, [one for one in wanted if one[1] <= layer_naming.NUMBER_MAX]) if wanted else {}
    )
    attached = []
    for arn, one in zip(arns, wanted, strict=True):
        layer = held.get(one)
        if layer is None:
            raise InvalidParameterValueException(f"Layer version {arn} does not exist.")
        attached.append(
            AttachedLayer(
                arn=layer_naming.arn(ctx, layer.name, layer.number),
                sha256=layer.code_sha256,
                size_bytes=layer.code_bytes,
                unzipped_bytes=layer.unzipped_bytes,
            )
        )
    if attached and await stored_packages.entries(connection, [layer.sha256 for layer in attached]) > ENTRIES_MAX:
        raise InvalidParameterValueException(f"Layers consume more than the available number of {ENTRIES_MAX} files")
    return msgspec.structs.replace(configuration, layers=tuple(attached))


def check_size(configuration: FunctionConfiguration, code_unzipped_bytes: int) -> None:
    """Raises InvalidParameterValueException when the code and its layers unpack to more than a function may have."""
    layers_bytes = sum(layer.unzipped_bytes for layer in configuration.layers)
    if layers_bytes > UNZIPPED_BYTES_MAX:
        raise InvalidParameterValueException(f"Layers consume more than the available size of {UNZIPPED_BYTES_MAX} bytes")
    total = code_unzipped_bytes + layers_bytes
    if configuration.layers and total >= UNZIPPED_BYTES_MAX:
        raise InvalidParameterValueException(
            f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_BYTES_MAX} bytes. "
            f"The actual size is {total} bytes."
        )
