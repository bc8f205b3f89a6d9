"""The calls that make what an entry gives. Nothing here calls anything: a script is data until the runner runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.facts import Fact
from tests.conformance.steps import Step

Request = dict[str, Any]
VPC: Request = {"SubnetIds": ["<subnet>"], "SecurityGroupIds": ["<sg>"]}
MIN: Request = {"Runtime": "python3.12", "Handler": "index.handler", "Role": "<role-arn>", "Code": {"ZipFile": "<zip>"}}
STD: Request = {**MIN, "Handler": "handler.handler", "Timeout": 30, "Environment": {"Variables": {}}}
IMAGE: Request = {
    "PackageType": "Image",
    "Code": {"ImageUri": "<repo>:latest"},
    "Role": "<role-arn>",
    "Environment": {"Variables": {"CUSTOM_ENV": "test"}},
}
KINDS: dict[str, Request] = {
    "min": MIN,
    "std": STD,
    "java21": {**MIN, "Runtime": "java21", "Handler": "echo.Handler"},
    "image": IMAGE,
    "nodejs": {**STD, "Runtime": "nodejs20.x", "Handler": "lambda_handler.handler"},
}
BUCKET_ARN = "arn:<partition>:s3:::<bucket>"
S3_OBJECT = "s3:PutObject"
"""Not an operation of Lambda: the runner puts it into the object store."""


def left(member: str, value: str) -> Callable[[Any], bool]:
    """Whether a reply's member has another value by now; one that was refused has it not."""
    return lambda reply: reply.get(member) != value


def revision(placeholder: str | None) -> dict[str, str]:
    """Remembers a reply's RevisionId under `<uuid:n>`."""
    return {"RevisionId": placeholder.strip("<>")} if placeholder else {}


class Script:
    """Methods add what a sentence needs, once: a function before its version, a version before its alias."""

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.steps: list[Step] = []
        body = str(fact.body)
        self.kind = "std" if "'Variables': {}" in body or "std function" in fact.told else "min"
        if "'PackageType': 'Image'" in body:
            self.kind = "image"
        self.more: Request = {"MemorySize": 256, "Timeout": 5} if "'Timeout': 5" in body else {}
        if "'Handler': 'handler.handler'" in body and self.kind == "min":
            self.more["Handler"] = "handler.handler"
        if "'VpcConfig'" in body:
            self.more["VpcConfig"] = VPC
        self.function_exists = False
        self.versions = 0
        self.layer_versions = 0
        self.mapping_exists = self.layer_has_policy = self.url_exists = False

    def add(self, operation: str, takes: dict[str, str] | None = None, **request: Any) -> None:
        self.steps.append(Step(operation, request, takes or {}))

    def call(self, operation: str, takes: dict[str, str] | None = None, **request: Any) -> None:
        """A call about the function."""
        self.add(operation, takes, **{"FunctionName": "<fn>", **request})

    def made(self, operation: str) -> bool:
        return any(step.operation == operation for step in self.steps)

    def create(self, kind: str, takes: dict[str, str] | None = None, **more: Any) -> None:
        self.call("CreateFunction", takes, **{**KINDS[kind], **more})
        self.function_exists = True
        self.versions = int(bool(more.get("Publish")))

    def need_function(self) -> None:
        if not self.function_exists:
            self.create(self.kind, **self.more)

    def update(self, **request: Any) -> None:
        self.need_function()
        self.call("UpdateFunctionConfiguration", **request)

    def publish(self, description: str | None = None, takes: dict[str, str] | None = None) -> None:
        self.need_function()
        self.call("PublishVersion", takes, **({} if description is None else {"Description": description}))
        self.versions += 1

    def need_versions(self, count: int) -> None:
        if self.versions == 0:
            self.publish("First version description :)" if count > 1 else None)
        while self.versions < count:
            self.update(Description="Second version :))")
            self.publish()

    def alias(self, name: str = "<alias>", takes: dict[str, str] | None = None, **more: Any) -> None:
        self.need_versions(2 if "RoutingConfig" in more or more.get("FunctionVersion") == "2" else 1)
        self.call("CreateAlias", takes, **{"Name": name, "FunctionVersion": "1", **more})

    def custom_alias(self, placeholder: str | None = None, **more: Any) -> None:
        self.need_versions(2)
        self.alias(takes=revision(placeholder), Description="custom-alias", **more)

    def current_revision(self, placeholder: str, qualifier: str | None = None) -> None:
        self.need_function()
        more = {} if qualifier is None else {"Qualifier": qualifier}
        self.call("GetFunctionConfiguration", revision(placeholder), **more)

    def permit(self, **more: Any) -> None:
        self.need_function()
        request = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
        self.call("AddPermission", **request, SourceArn=BUCKET_ARN, **more)

    def policy_revision(self, placeholder: str) -> None:
        if not self.made("AddPermission"):
            self.permit()
        self.call("GetPolicy", revision(placeholder))

    def tagged(self) -> str:
        """The resource that an entry tags, which exists from now on."""
        if "<esm-arn>" in str(self.fact.request):
            self.need_mapping()
            return "<esm-arn>"
        self.need_function()
        return "<fn-arn>"

    def need_mapping(self) -> None:
        if not self.mapping_exists:
            self.mapping(EventSourceArn="<queue-arn>")

    def mapping(self, **request: Any) -> None:
        self.need_function()
        self.call("CreateEventSourceMapping", {"EventSourceMappingArn": "esm-arn", "UUID": "uuid"}, **request)
        self.mapping_exists = True

    def mapping_settled(self) -> None:
        self.steps.append(Step("GetEventSourceMapping", {"UUID": "<uuid>"}, until=left("State", "Creating")))

    def mapping_gone(self) -> None:
        self.steps.append(Step("GetEventSourceMapping", {"UUID": "<uuid>"}, refused=True, until=left("State", "Deleting")))

    def need_layer(self, versions: int = 1, **more: Any) -> None:
        while self.layer_versions < versions:
            self.add("PublishLayerVersion", LayerName="<layer>", Content={"ZipFile": "<zip>"}, **more)
            self.layer_versions += 1

    def layer_statement(self, name: str, placeholder: str | None = None) -> None:
        self.need_layer()
        request = {"LayerName": "<layer>", "VersionNumber": 1, "StatementId": name}
        self.add("AddLayerVersionPermission", revision(placeholder), **request, Action="lambda:GetLayerVersion", Principal="*")

    def url(self, **request: Any) -> None:
        self.need_function()
        self.call("CreateFunctionUrlConfig", AuthType="NONE", **request)
        self.url_exists = True

    def urls_on_function_and_alias(self) -> None:
        self.url()
        self.alias()
        self.url(Qualifier="<alias>")

    def provision(self, qualifier: str) -> None:
        if qualifier == "<alias>":
            if not self.made("CreateAlias"):
                self.alias()
        else:
            self.need_versions(1)
        self.call("PutProvisionedConcurrencyConfig", Qualifier=qualifier, ProvisionedConcurrentExecutions=1)

    def signing(self, policy: str = "Enforce") -> None:
        profile = "arn:<partition>:signer:<region>:<account>:/signing-profiles/test"
        self.add(
            "CreateCodeSigningConfig",
            {"CodeSigningConfig.CodeSigningConfigArn": "csc-arn", "CodeSigningConfig.CodeSigningConfigId": "csc"},
            Description="Testing CodeSigning Config",
            AllowedPublishers={"SigningProfileVersionArns": [profile]},
            CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy},
        )

    def signed_function(self) -> None:
        self.signing()
        self.need_function()
        self.call("PutFunctionCodeSigningConfig", CodeSigningConfigArn="<csc-arn>")

    def s3_object(self, content: str) -> None:
        self.add(S3_OBJECT, Bucket="<bucket>", Key="<key>", Body=content)
