"""Sentences about mappings, layers, function URLs, provisioned concurrency, code signing, images, S3 code and the account."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.facts import load
from tests.conformance.services.lambda_.functions import UUID, Say
from tests.conformance.services.lambda_.script import IMAGE, MIN, Script
from tests.conformance.steps import Step

DYNAMODB_MAPPING = next(fact.request for fact in load("management") if fact.id == "create-event-source-mapping.dynamodb")
IMAGE_CONFIG = {"EntryPoint": ["sh"], "Command": ["-c", "echo test"], "WorkingDirectory": "/app1"}
STUFFED = {"at least": "<zip that unpacks to 262144000 bytes>", "about": "<zip that unpacks to 262143000 bytes>"}


def stream_mapping(script: Script, match: re.Match[str]) -> None:
    """The DynamoDB mapping of another entry, in the state in which it works."""
    script.mapping(**DYNAMODB_MAPPING)
    script.mapping_settled()
    if "function was deleted" in match[0]:
        script.call("DeleteFunction")


def queue_and_versions(script: Script, match: re.Match[str]) -> None:
    script.create("std")
    script.alias()


def first_page_of_urls(script: Script, match: re.Match[str]) -> None:
    script.urls_on_function_and_alias()
    script.call("ListFunctionUrlConfigs", {"NextMarker": "marker", "FunctionUrlConfigs.0": "one of the two"}, MaxItems=1)


def alias_beside_url(script: Script, match: re.Match[str]) -> None:
    script.url()
    script.alias()


def provisioned(script: Script, match: re.Match[str]) -> None:
    script.provision("<alias>" if match[0].startswith("config on <alias>") else "1")
    if "<alias> points" in match[0]:
        script.alias()
    if "then deleted" in match[0]:
        script.call("DeleteProvisionedConcurrencyConfig", Qualifier="1")


def signing_policy(script: Script, match: re.Match[str]) -> None:
    script.signing("Warn" if match[0] == "policy Warn" else "Enforce")
    if "updated to Warn" in match[0]:
        policy = {"UntrustedArtifactOnDeployment": "Warn"}
        script.add("UpdateCodeSigningConfig", CodeSigningConfigArn="<csc-arn>", CodeSigningPolicies=policy)
    if "function" in match[0] and "any" not in match[0]:
        script.need_function()


def statements(script: Script, match: re.Match[str]) -> None:
    script.layer_statement("s1", None if "s2" in match[0] else match[1])
    if "s2" in match[0]:
        script.layer_statement("s2", match[1])


def six_layers(script: Script, match: re.Match[str]) -> None:
    for number in range(6):
        script.add("PublishLayerVersion", LayerName=f"<layer>-{number}", Content={"ZipFile": "<zip>"})


def layers_of_function(script: Script, match: re.Match[str]) -> None:
    script.create("std")
    if found := re.search(r"versions? 1(?: and | to )?(\d)? of", match[0]):
        script.need_layer(int(found[1] or 1))
    elif "no layer" not in match[0]:
        script.need_layer()


def layer_deleted(script: Script, match: re.Match[str]) -> None:
    script.need_layer()
    script.add("DeleteLayerVersion", LayerName="<layer>", VersionNumber=1)


def image(script: Script, match: re.Match[str]) -> None:
    """A function made from a container image, with what is said of it."""
    said = match[0]
    config = {"ImageConfig": IMAGE_CONFIG} if "ImageConfig" in said or "EntryPoint" in said else {}
    publish = {"Publish": True} if "Publish true" in said else {}
    script.call("CreateFunction", {"CodeSha256": "sha256"} if "<sha256>" in said else None, **IMAGE, **config, **publish)
    script.function_exists = True
    if found := re.search(r"version (\d)", said):
        script.need_versions(int(found[1]))
    if "description changed" in said:
        script.update(Description="Changed again")


def image_refused(script: Script, match: re.Match[str]) -> None:
    script.steps.append(Step("UpdateFunctionCode", {"FunctionName": "<fn>", "ImageUri": "<repo>:latest"}, refused=True))


def from_s3(script: Script, match: re.Match[str]) -> None:
    script.s3_object("<zip>")
    script.create(script.kind, Code={"S3Bucket": "<bucket>", "S3Key": "<key>"})
    if "other bytes" in match[0]:
        script.s3_object("<zip:2>")


def measured(script: Script, match: re.Match[str]) -> None:
    """Notes the account's code size after what must be there before the call that follows."""
    if "same zip" in script.fact.told:
        script.create("min", Code={"ZipFile": "<zip of 276 bytes>"})
    elif "same layer" in script.fact.told:
        script.add("PublishLayerVersion", LayerName="<layer>", Content={"ZipFile": "<zip of 169 bytes>"})
        script.layer_versions = 1
    elif "only the configuration changed" in match[0]:
        script.publish()
        script.update(Description="changed")
    elif "UpdateFunctionConfiguration" in script.fact.told:
        script.create("std")
    script.add("GetAccountSettings", {"AccountUsage.TotalCodeSize": "before"})


SENTENCES: dict[str, Say] = {
    r"(?:CreateEventSourceMapping as in create-event-source-mapping|enabled|function <fn> used by an enabled).*"
    r"(?:dynamodb|mapping)(?: whose function was deleted)?": stream_mapping,
    r"State left Creating": lambda s, m: None,
    r"deletion finished": lambda s, m: s.mapping_gone(),
    r"std function <fn>, version 1, <alias> on version 1; queue <queue-arn>": queue_and_versions,
    r"std function(?: <fn>)?, (?:DynamoDB|Kinesis) stream.*": lambda s, m: s.create("std"),
    r"untagged event source mapping": lambda s, m: s.need_mapping(),
    r"SQS event source mapping created with Tags \{testtag: <value>\}": lambda s, m: s.mapping(
        EventSourceArn="<queue-arn>", Tags={"testtag": "<value>"}
    ),
    r"function <fn> with(?:out)? URL|function without URLs": lambda s, m: s.need_function(),
    r"(?:function <fn> with a )?URL(?:,| with)? ?(?:AuthType NONE)?": lambda s, m: s.url(),
    r"<alias> on version 1; the function has a URL of its own": alias_beside_url,
    r"URLs on function and <alias>": lambda s, m: s.urls_on_function_and_alias(),
    r"<marker> from a first page of one": first_page_of_urls,
    r"config on (?:version 1|<alias>)(?:,|;| was)?(?: Ready.*| <alias> points to version 1| which points to version 1)?": provisioned,
    r"<alias> points to version 1, no config on either": lambda s, m: s.alias(),
    r"policy (?:Enforce|Warn)|(?:function and )?config exists?|config not attached(?: to any function)?"
    r"|config created with Enforce, updated to Warn": signing_policy,
    r"config attached(?: to <fn>)?": lambda s, m: s.signed_function(),
    rf"statements? s1(?: and s2)?(?:,(?: policy)? RevisionId {UUID})?": statements,
    r"only version 1|version 1 of <layer>(?: without a policy| published, same content)?|<layer> exists": lambda s, m: (
        s.need_layer()
    ),
    r"six distinct layers exist": six_layers,
    r"std function; (?:.*<layer>.*|no layer doesnotexist)": layers_of_function,
    r"RecursiveLoop set to Allow": lambda s, m: (
        s.need_function(),
        s.call("PutFunctionRecursionConfig", RecursiveLoop="Allow"),
    ),
    r"image function.*": image,
    r"UpdateFunctionCode with ImageUri was rejected": image_refused,
    r"S3 object <key> (?:in <bucket> holds <zip>|holds a layer zip)": lambda s, m: s.s3_object("<zip>"),
    r"S3 object <key> is a zip that unpacks to (at least|about) 262144000(?: - 1000)? bytes": lambda s, m: s.s3_object(
        STUFFED[m[1]]
    ),
    r"(?:min )?function (?:created|made) from S3 code(?:, Active|; the S3 object now holds other bytes)": from_s3,
    r"TotalCodeSize was <before>(?:; only the configuration changed since)?": measured,
}

OF_LAYERS: dict[str, Say] = {
    r"versions 1 and 2 published": lambda s, m: s.need_layer(2),
    r"version 1 was deleted": layer_deleted,
}
"""Sentences that mean something else where a layer is spoken of."""

SHORT_CALLS: dict[tuple[str, str], dict[str, Any]] = {
    ("CreateFunction", "zip of 276 bytes"): {**MIN, "FunctionName": "<fn>", "Code": {"ZipFile": "<zip of 276 bytes>"}},
    ("UpdateFunctionCode", "same zip of 276 bytes, Publish true"): {
        "FunctionName": "<fn>",
        "ZipFile": "<zip of 276 bytes>",
        "Publish": True,
    },
    ("PublishLayerVersion", "zip of 169 bytes"): {"LayerName": "<layer>", "Content": {"ZipFile": "<zip of 169 bytes>"}},
    ("PublishLayerVersion", "same layer and zip of 169 bytes"): {
        "LayerName": "<layer>",
        "Content": {"ZipFile": "<zip of 169 bytes>"},
    },
}
"""Calls that are given by a sentence in place of parameters."""
