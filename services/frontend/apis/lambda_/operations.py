"""The table of Lambda's operations: who answers which."""

from __future__ import annotations

from services.frontend.apis.lambda_ import (
    account,
    aliases,
    code_signing,
    concurrency,
    event_invoke,
    function_updates,
    function_urls,
    functions,
    layer_policies,
    layers,
    mappings,
    package_links,
    policies,
    provisioned,
    recursion,
    resource_policies,
    runtime_management,
    tags,
    versions,
)
from services.frontend.apis.lambda_.absent import ABSENT
from services.frontend.apis.lambda_.context import ControlContext, Handler, Reply
from services.frontend.endpoint import api
from services.frontend.endpoint.api import Api, Call
from shared.aws.error_rendering import render
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import load_service_model

OPERATIONS: dict[str, Handler] = {
    **ABSENT,
    "AddLayerVersionPermission": layer_policies.add_layer_version_permission,
    "AddPermission": policies.add_permission,
    "CreateAlias": aliases.create_alias,
    "CreateCodeSigningConfig": code_signing.create_code_signing_config,
    "CreateEventSourceMapping": mappings.create_event_source_mapping,
    "CreateFunction": functions.create_function,
    "CreateFunctionUrlConfig": function_urls.create_function_url_config,
    "DeleteAlias": aliases.delete_alias,
    "DeleteCodeSigningConfig": code_signing.delete_code_signing_config,
    "DeleteEventSourceMapping": mappings.delete_event_source_mapping,
    "DeleteFunction": functions.delete_function,
    "DeleteFunctionCodeSigningConfig": code_signing.delete_function_code_signing_config,
    "DeleteFunctionConcurrency": concurrency.delete_function_concurrency,
    "DeleteFunctionEventInvokeConfig": event_invoke.delete_function_event_invoke_config,
    "DeleteFunctionUrlConfig": function_urls.delete_function_url_config,
    "DeleteResourcePolicy": resource_policies.delete_resource_policy,
    "DeleteLayerVersion": layers.delete_layer_version,
    "DeleteProvisionedConcurrencyConfig": provisioned.delete_provisioned_concurrency_config,
    "GetAccountSettings": account.get_account_settings,
    "GetAlias": aliases.get_alias,
    "GetCodeSigningConfig": code_signing.get_code_signing_config,
    "GetEventSourceMapping": mappings.get_event_source_mapping,
    "GetFunction": functions.get_function,
    "GetFunctionCodeSigningConfig": code_signing.get_function_code_signing_config,
    "GetFunctionConcurrency": concurrency.get_function_concurrency,
    "GetFunctionConfiguration": functions.get_function_configuration,
    "GetFunctionEventInvokeConfig": event_invoke.get_function_event_invoke_config,
    "GetFunctionRecursionConfig": recursion.get_function_recursion_config,
    "GetLayerVersion": layers.get_layer_version,
    "GetLayerVersionByArn": layers.get_layer_version_by_arn,
    "GetLayerVersionPolicy": layer_policies.get_layer_version_policy,
    "GetFunctionUrlConfig": function_urls.get_function_url_config,
    "GetPolicy": policies.get_policy,
    "GetResourcePolicy": resource_policies.get_resource_policy,
    "GetProvisionedConcurrencyConfig": provisioned.get_provisioned_concurrency_config,
    "GetRuntimeManagementConfig": runtime_management.get_runtime_management_config,
    "ListAliases": aliases.list_aliases,
    "ListCodeSigningConfigs": code_signing.list_code_signing_configs,
    "ListEventSourceMappings": mappings.list_event_source_mappings,
    "ListFunctionEventInvokeConfigs": event_invoke.list_function_event_invoke_configs,
    "ListFunctionUrlConfigs": function_urls.list_function_url_configs,
    "ListFunctions": functions.list_functions,
    "ListFunctionsByCodeSigningConfig": code_signing.list_functions_by_code_signing_config,
    "ListLayerVersions": layers.list_layer_versions,
    "ListLayers": layers.list_layers,
    "ListProvisionedConcurrencyConfigs": provisioned.list_provisioned_concurrency_configs,
    "ListTags": tags.list_tags,
    "ListVersionsByFunction": versions.list_versions_by_function,
    "PublishLayerVersion": layers.publish_layer_version,
    "PublishVersion": versions.publish_version,
    "PutFunctionCodeSigningConfig": code_signing.put_function_code_signing_config,
    "PutFunctionConcurrency": concurrency.put_function_concurrency,
    "PutFunctionEventInvokeConfig": event_invoke.put_function_event_invoke_config,
    "PutFunctionRecursionConfig": recursion.put_function_recursion_config,
    "PutProvisionedConcurrencyConfig": provisioned.put_provisioned_concurrency_config,
    "PutRuntimeManagementConfig": runtime_management.put_runtime_management_config,
    "RemoveLayerVersionPermission": layer_policies.remove_layer_version_permission,
    "PutResourcePolicy": resource_policies.put_resource_policy,
    "RemovePermission": policies.remove_permission,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateAlias": aliases.update_alias,
    "UpdateCodeSigningConfig": code_signing.update_code_signing_config,
    "UpdateEventSourceMapping": mappings.update_event_source_mapping,
    "UpdateFunctionCode": function_updates.update_function_code,
    "UpdateFunctionConfiguration": function_updates.update_function_configuration,
    "UpdateFunctionEventInvokeConfig": event_invoke.update_function_event_invoke_config,
    "UpdateFunctionUrlConfig": function_urls.update_function_url_config,
}
"""By the service model's operation names."""


def lambda_api(context: ControlContext) -> Api:
    return Api(
        load_service_model("lambda"), {name: _with(context, handler) for name, handler in OPERATIONS.items()}, render=render
    )


def _with(context: ControlContext, handler: Handler) -> api.Handler:
    async def answer(call: Call, params: Params) -> Reply:
        package_links.endpoint.set(call.endpoint)
        return await handler(context.at(call.home), params)

    return answer
