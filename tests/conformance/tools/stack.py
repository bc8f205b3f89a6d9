"""The Lambda part of CloudFormation, as much of it as a template of SAM's needs: resources in order, through boto3."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

Properties = dict[str, Any]
CREATE = {
    "AWS::Lambda::LayerVersion": ("publish_layer_version", "LayerVersionArn"),
    "AWS::Lambda::Function": ("create_function", "FunctionName"),
    "AWS::Lambda::Version": ("publish_version", "FunctionArn"),
    "AWS::Lambda::Alias": ("create_alias", "AliasArn"),
    "AWS::Lambda::Url": ("create_function_url_config", "FunctionArn"),
    "AWS::Lambda::Permission": ("add_permission", ""),
    "AWS::Lambda::EventInvokeConfig": ("put_function_event_invoke_config", ""),
    "AWS::Lambda::EventSourceMapping": ("create_event_source_mapping", "UUID"),
}
"""A resource type's call, and the member of its reply that `Ref` stands for."""


class Stack:
    """Raises KeyError for a resource type or an intrinsic function that it does not have."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.replies: dict[str, Properties] = {}
        self.types: dict[str, str] = {}

    def create(self, template: Properties) -> None:
        left = dict(template["Resources"])
        while left:
            ready = [name for name, resource in left.items() if not needs(resource) & left.keys()]
            assert ready, f"these resources need each other: {sorted(left)}"
            for name in ready:
                self._create(name, left.pop(name))

    def named(self, resource_type: str) -> Properties:
        """The reply to the creation of the only resource of a type."""
        (name,) = [name for name, found in self.types.items() if found == resource_type]
        return self.replies[name]

    def _create(self, name: str, resource: Properties) -> None:
        kind = resource["Type"]
        self.types[name] = kind
        request = self._resolved(resource.get("Properties", {}))
        call, _ = CREATE[kind]
        provisioned = request.pop("ProvisionedConcurrencyConfig", None)
        shaped = SHAPES.get(kind, dict)(request)
        self.replies[name] = getattr(self._client, call)(**shaped)
        if kind == "AWS::Lambda::Function":
            self._client.get_waiter("function_active_v2").wait(FunctionName=shaped["FunctionName"])
        if provisioned:
            about = {"FunctionName": shaped["FunctionName"], "Qualifier": shaped["Name"]}
            self._client.put_provisioned_concurrency_config(**about, **provisioned)

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Ref"}:
            return self.replies[value["Ref"]][CREATE[self.types[value["Ref"]]][1]]
        if set(value) == {"Fn::GetAtt"}:
            name, attribute = value["Fn::GetAtt"]
            return self.replies[name][{"Arn": "FunctionArn"}.get(attribute, attribute)]
        if any(key.startswith("Fn::") for key in value):
            raise KeyError(f"{list(value)} is not resolved here")
        return {key: self._resolved(item) for key, item in value.items()}


def needs(resource: Any) -> set[str]:
    """The names of the resources that this one speaks of."""
    if isinstance(resource, list):
        return {name for item in resource for name in needs(item)}
    if not isinstance(resource, dict):
        return set()
    direct = {resource["Ref"]} if "Ref" in resource else {resource["Fn::GetAtt"][0]} if "Fn::GetAtt" in resource else set()
    depends = resource.get("DependsOn", [])
    direct |= {depends} if isinstance(depends, str) else set(depends)
    return direct | {name for item in resource.values() for name in needs(item)}


def _function(request: Properties) -> Properties:
    return request | {"Tags": {tag["Key"]: tag["Value"] for tag in request.get("Tags", [])}}


def _url(request: Properties) -> Properties:
    """CloudFormation takes an ARN with its qualifier as one target."""
    target = request.pop("TargetFunctionArn")
    function, colon, qualifier = target.rpartition(":")
    if not colon or function.endswith(":function"):
        return {"FunctionName": target, **request}
    return {"FunctionName": function, "Qualifier": qualifier, **request}


def _permission(request: Properties) -> Properties:
    return {"StatementId": uuid.uuid4().hex, **request}


SHAPES: dict[str, Callable[[Properties], Properties]] = {
    "AWS::Lambda::Function": _function,
    "AWS::Lambda::Url": _url,
    "AWS::Lambda::Permission": _permission,
}
"""What CloudFormation spells otherwise than the API."""
