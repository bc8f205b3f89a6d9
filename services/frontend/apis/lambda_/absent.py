"""What AWS has and this engine has not: capacity providers, their scaling, durable executions.

It answers as AWS does for an account that has none of them: lists are empty, a resource that is named is not found, and what
would make one is refused. A function that is named is looked for first.
"""

from __future__ import annotations

from collections.abc import Callable

from services.frontend.apis.lambda_ import naming, pages
from services.frontend.apis.lambda_.context import ControlContext, Handler, Reply, Request
from shared.domain.arns import PARTITION, Home
from shared.domain.errors import ApiError, InvalidParameterValueException, ResourceNotFoundException

NO_CAPACITY_PROVIDERS = "Capacity providers are not available here: functions run on the workers of this cluster."
NO_DURABLE_EXECUTIONS = "Durable executions are not available here."
Refusal = Callable[[ControlContext, Request], ApiError]


def _refused(refusal: Refusal) -> Handler:
    async def refuse(ctx: ControlContext, request: Request) -> Reply:
        if "FunctionName" in request:
            await naming.find(ctx, *naming.named(ctx, request))
        raise refusal(ctx, request)

    return refuse


def _empty(member: str) -> Handler:
    """The one page of a list without items."""

    async def answer(ctx: ControlContext, request: Request) -> Reply:
        if "FunctionName" in request:
            await naming.find(ctx, *naming.named(ctx, request))
        pages.after(request, str, "")
        return {member: []}

    return answer


def _of_execution(refusal: Refusal) -> Handler:
    """The function in a durable execution's ARN is looked for first, when it is one of this account and region."""

    async def refuse(ctx: ControlContext, request: Request) -> Reply:
        function_arn, _, _ = request["DurableExecutionArn"].partition("/durable-execution/")
        _, _, _, region, account, _, name, version = function_arn.split(":")
        if Home(account, region) == ctx.home:
            await naming.find(ctx, name, version)
        raise refusal(ctx, request)

    return refuse


def _capacity_provider(ctx: ControlContext, request: Request) -> ApiError:
    name = request["CapacityProviderName"]
    base = f"arn:{PARTITION}:lambda:{ctx.home.region}:{ctx.home.account_id}:capacity-provider:"
    return ResourceNotFoundException(f"Capacity provider not found: {name if name.startswith('arn:') else base + name}")


def _no_scaling(ctx: ControlContext, request: Request) -> ApiError:
    name, qualifier = naming.named(ctx, request)
    return ResourceNotFoundException(f"The function {naming.arn(ctx, name, qualifier)} doesn't have a FunctionScalingConfig")


def _execution(_ctx: ControlContext, request: Request) -> ApiError:
    return ResourceNotFoundException(f"Durable execution not found: {request['DurableExecutionArn']}")


def _token(_ctx: ControlContext, _request: Request) -> ApiError:
    """The operations that a running execution calls name no such error as ResourceNotFoundException in the service model."""
    return InvalidParameterValueException("The provided CheckpointToken is invalid.")


def _callback(_ctx: ControlContext, request: Request) -> ApiError:
    return ResourceNotFoundException(f"Callback not found: {request['CallbackId']}")


def _no_providers(_ctx: ControlContext, _request: Request) -> ApiError:
    return InvalidParameterValueException(NO_CAPACITY_PROVIDERS)


ABSENT: dict[str, Handler] = {
    "CheckpointDurableExecution": _of_execution(_token),
    "CreateCapacityProvider": _refused(_no_providers),
    "DeleteCapacityProvider": _refused(_capacity_provider),
    "DeleteDurableExecution": _of_execution(_execution),
    "GetCapacityProvider": _refused(_capacity_provider),
    "GetDurableExecution": _of_execution(_execution),
    "GetDurableExecutionHistory": _of_execution(_execution),
    "GetDurableExecutionState": _of_execution(_token),
    "GetFunctionScalingConfig": _refused(_no_scaling),
    "ListCapacityProviders": _empty("CapacityProviders"),
    "ListDurableExecutionsByFunction": _empty("DurableExecutions"),
    "ListFunctionVersionsByCapacityProvider": _refused(_capacity_provider),
    "PauseDurableExecution": _of_execution(_execution),
    "PutFunctionScalingConfig": _refused(_no_providers),
    "ResumeDurableExecution": _of_execution(_execution),
    "SendDurableExecutionCallbackFailure": _refused(_callback),
    "SendDurableExecutionCallbackHeartbeat": _refused(_callback),
    "SendDurableExecutionCallbackSuccess": _refused(_callback),
    "StopDurableExecution": _of_execution(_execution),
    "UpdateCapacityProvider": _refused(_capacity_provider),
}
