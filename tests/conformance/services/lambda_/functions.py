"""Sentences about functions, versions, aliases, policies, tags, asynchronous settings and reserved concurrency."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from tests.conformance.services.lambda_.script import VPC, Script, revision

Say = Callable[[Script, re.Match[str]], object]
BOTH = {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1}
UUID = r"(<uuid:\d>)"

NOTHING_TO_DO = (
    r"no (?:such )?function(?: <fn(?::2)?>| \w[\w-]*)?|no mapping <uuid>|no such event source mapping|no such capacity provider"
    r"|no function doesnotexist, no such queue|no such queue|no such config|neither exists|no layer <?\w+>?(?:-\w+)?"
    r"|layer version <arn> published in another region|123456789012 is not the own account"
    r"|(?:State became|version|published version) Active|update finished|GetFunction gives 404"
    r"|image <repo>:latest is in the registry"
)
FUNCTION = re.compile(
    r"(?P<kind>min|std|Zip|java21) function(?: <fn>)?(?: created)?(?P<more>"
    r"(?:(?:,| with| and| in| made)* (?:Active|without tags|without a policy|without such a config|without aliases"
    r"|without code signing|never configured|a VPC|VpcConfig|Publish true \(so \$LATEST and version 1\)|50 tags|Text logging"
    r"|JSON logging|nothing called v1|no SnapStart sent|MemorySize \d+|Timeout \d+|Tags \{[^}]*\}|Environment \{[^}]*\}"
    r'|LoggingConfig \{LogFormat: JSON\}|description "[^"]*"|CodeSha256 <sha256>|RevisionId <uuid(?::\d)?>'
    r"|versions? 1(?: and 2)?(?: published)?))*)"
)


def function(script: Script, match: re.Match[str]) -> None:
    """A function of a kind with what is said of it."""
    more, request = match["more"], dict[str, Any]()
    for name, value in re.findall(r"(MemorySize|Timeout) (\d+)", more):
        request[name] = int(value)
    for name, value in re.findall(r"(Tags|Environment) (\{[^}]*\})", more):
        parsed = yaml.safe_load(value)
        request[name] = {"Variables": parsed} if name == "Environment" else parsed
    if found := re.search(r'description "([^"]*)"', more):
        request["Description"] = found[1]
    if "JSON" in more:
        request["LoggingConfig"] = {"LogFormat": "JSON"}
    if "VPC" in more or "Vpc" in more:
        request |= {"VpcConfig": VPC, "MemorySize": 256, "Timeout": 5}
    if "Publish true" in more:
        request["Publish"] = True
    if "50 tags" in more:
        request["Tags"] = "<50 tags>"
    if match["kind"] == "Zip":
        script.create(script.kind, **script.more, **request)
    else:
        script.create(match["kind"], **request)
    if found := re.search(r"RevisionId (<uuid(?::\d)?>)", more):
        script.current_revision(found[1])
    if "CodeSha256" in more:
        script.call("GetFunctionConfiguration", {"CodeSha256": "sha256"})
    if "versions 1 and 2" in more:
        script.need_versions(2)
    elif "version 1 published" in more:
        script.publish()


def published_with(script: Script, match: re.Match[str]) -> None:
    script.publish(match[1], revision(match[2]))


def version_then(script: Script, **request: Any) -> None:
    script.publish()
    script.update(**request)


def latest_revision(script: Script, match: re.Match[str]) -> None:
    """Of `$LATEST`; the version that it was published as comes first where an alias follows."""
    if "CreateAlias" in script.fact.told and not script.versions:
        script.publish()
    script.current_revision(match[1])


def both_revisions(script: Script, match: re.Match[str]) -> None:
    script.publish(takes=revision(match[2]))
    script.current_revision(match[1])


def updated(script: Script, match: re.Match[str]) -> None:
    script.update(Description="1st update description")
    script.current_revision(match[1])


def aliases(script: Script, match: re.Match[str]) -> None:
    custom = {"Description": "custom-alias"}
    script.need_versions(2)
    script.alias("aliasname1_1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}}, **custom)
    script.alias("aliasname1_2", **custom)
    script.alias("aliasname1_3")
    script.alias("aliasname2", FunctionVersion="2", **custom)


def statements_of_two(script: Script, match: re.Match[str]) -> None:
    script.custom_alias()
    script.permit(Qualifier="1")
    script.permit(Qualifier="<alias>")


def unpermitted(script: Script, match: re.Match[str]) -> None:
    script.permit()
    script.call("RemovePermission", StatementId="s3")


def tag(script: Script, tags: dict[str, str]) -> None:
    script.add("TagResource", Resource=script.tagged(), Tags=tags)


def untagged(script: Script, match: re.Match[str]) -> None:
    tag(script, {"A": "b"})
    script.add("UntagResource", Resource=script.tagged(), TagKeys=["A"])


def deleted(script: Script, match: re.Match[str]) -> None:
    script.need_function()
    script.call("DeleteFunction")


def configs(script: Script, match: re.Match[str]) -> None:
    script.publish()
    script.call("PutFunctionEventInvokeConfig", **BOTH)
    script.call("PutFunctionEventInvokeConfig", Qualifier="1", MaximumEventAgeInSeconds=120)
    if "<marker>" in match[0]:
        takes = {"NextMarker": "marker", "FunctionEventInvokeConfigs.0": "one of the two configs"}
        script.call("ListFunctionEventInvokeConfigs", takes, MaxItems=1)


def configured(script: Script, match: re.Match[str]) -> None:
    script.need_function()
    script.call("PutFunctionEventInvokeConfig", **BOTH)


def aged(script: Script, match: re.Match[str]) -> None:
    script.need_function()
    script.call("PutFunctionEventInvokeConfig", MaximumEventAgeInSeconds=60)


def reserved(script: Script, match: re.Match[str]) -> None:
    script.need_function()
    script.call("PutFunctionConcurrency", ReservedConcurrentExecutions=1)


def network(script: Script, match: re.Match[str]) -> None:
    """There is no EC2 here that could hold them."""
    if script.fact.call != "CreateFunction":
        script.need_function()


def json_logging(script: Script, match: re.Match[str]) -> None:
    script.create("std", MemorySize=256, Timeout=5, LoggingConfig={"LogFormat": "JSON"})


SENTENCES: dict[str, Say] = {
    NOTHING_TO_DO: lambda s, m: None,
    r"security group <sg> exists|subnet <subnet> and .* in VPC <vpc>|neither the subnet nor the security group exists": network,
    r"account limit ConcurrentExecutions is <limit>(?:, nothing reserved)?": lambda s, m: s.need_function(),
    r"std function <fn> in <region>; call sent to <region>": lambda s, m: s.create("std"),
    r"untagged function": lambda s, m: s.create("std"),
    rf"CreateFunction (min|std): RevisionId {UUID}": lambda s, m: s.create(m[1], revision(m[2])),
    r"function with Runtime nodejs20.x.*": lambda s, m: s.create("nodejs"),
    r"std function <fn:2> \(only \$LATEST\)": lambda s, m: s.create("std", FunctionName="<fn:2>", Code={"ZipFile": "<zip:2>"}),
    r"function (?:<fn> )?was deleted|tagged function <fn>, deleted": deleted,
    rf'version 1 published(?: with description "([^"]*)")?(?:, RevisionId {UUID})?': published_with,
    r"versions 1 and 2 published(?:; .*)?": lambda s, m: s.need_versions(2),
    r'version 1 exists; \$LATEST updated to description "([^"]*)"': lambda s, m: version_then(s, Description=m[1]),
    r"version 1 published, then Environment updated to (\{.*\})": lambda s, m: version_then(
        s, Environment={"Variables": yaml.safe_load(m[1])}
    ),
    rf"version 2 just published \(no Description\), RevisionId {UUID}; .*": lambda s, m: (
        s.need_versions(2),
        s.current_revision(m[1], "2"),
    ),
    rf"\$LATEST RevisionId {UUID}": latest_revision,
    rf"\$LATEST RevisionId {UUID}, version 1 RevisionId {UUID}": both_revisions,
    rf"version 1 RevisionId {UUID}": lambda s, m: s.publish(takes=revision(m[1])),
    rf'(?:RevisionId was|description is already "1st update description", RevisionId) {UUID}': updated,
    r"(?:as before, )?JSON logging": json_logging,
    r"aliases aliasname1_1 .*": aliases,
    r"routing of aliasname1_1 removed": lambda s, m: s.call(
        "UpdateAlias", Name="aliasname1_1", RoutingConfig={"AdditionalVersionWeights": {}}
    ),
    r"<alias> without a policy|alias <alias> exists": lambda s, m: s.custom_alias(),
    rf"alias(?: <alias>(?: on version 1, description custom-alias)?,)? RevisionId {UUID}": lambda s, m: s.custom_alias(m[1]),
    rf'alias with RoutingConfig {{"2": 0.2}}, RevisionId {UUID}': lambda s, m: s.custom_alias(
        m[1], RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}}
    ),
    r"AddPermission s3 on the function|one statement left|function with a policy": lambda s, m: s.permit(),
    rf"(?:AddPermission s3 on the function; )?policy RevisionId {UUID}": lambda s, m: s.policy_revision(m[1]),
    r"every statement removed": unpermitted,
    r"AddPermission on version 1 and on <alias>": statements_of_two,
    r"tags (\{[^}]*\})": lambda s, m: tag(s, yaml.safe_load(m[1])),
    r"tags ([A-Z](?:, [A-Z])+)(?: \(D: tag-d\))?": lambda s, m: tag(s, {key: f"tag-{key.lower()}" for key in m[1].split(", ")}),
    r"tags key_a..key_e with value_a..value_e": lambda s, m: tag(s, {f"key_{c}": f"value_{c}" for c in "abcde"}),
    r"every tag removed|function once tagged, then every key untagged": untagged,
    r"MaximumEventAgeInSeconds is 60": aged,
    r"MaximumEventAgeInSeconds 60 and MaximumRetryAttempts 1 set .*|config (?:set )?on \$LATEST(?: only)?": configured,
    r"configs on \$LATEST and on version 1(?:; <marker> from a first page of one)?": configs,
    r"reserved concurrency 1": reserved,
}
