"""Reads tests/conformance/management.yaml: what is given becomes calls, what is expected is compared with its placeholders.

A sentence of `given` is understood when fragments that are known here make up all of it; an entry with any other sentence, or
about something that this version does not have, is not run (`understood`).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from services.frontend.control import OPERATIONS
from tests.integration.registry.support import OTHER_ZIP, ZIP
from tests.support import ROLE, zip_of

FACTS = Path(__file__).parents[2] / "conformance" / "management.yaml"
ACCOUNT, REGION, LIMIT = "000000000000", "us-east-1", 1_000
PLACEHOLDER = re.compile(r"<([a-z0-9-]+(?::\d+)?)>")
Fact = dict[str, Any]
Call = tuple[str, dict[str, Any]]

NOT_HERE = re.compile(
    r"image|ImageUri|S3Bucket|S3 |<key>|DynamoDB|Kinesis|<queue-arn>|<stream-arn>|EC2 Error|SQS event|enabled event source"
    r"|TotalCodeSize was|18\.8 MB|<marker>|PublishLayerVersion"
)
"""About container images, code from S3, other sources than Kafka, layers: later releases bring them. Or about HTTP alone."""


def load() -> list[Fact]:
    return [fact for fact in yaml.safe_load(FACTS.read_text()) if fact["call"] in OPERATIONS]


class NotUnderstoodError(Exception):
    pass


class Script:
    """The calls that make what a fact gives; a call's third part names placeholders to take from its reply."""

    def __init__(self, fact: Fact) -> None:
        body = str(fact.get("body"))
        self.std = "'Variables': {}" in body or "std function" in str(fact.get("given"))
        self.more: dict[str, Any] = {"MemorySize": 256, "Timeout": 5} if "'Timeout': 5" in body else {}
        if "'VpcConfig'" in body:
            self.more["VpcConfig"] = VPC
        self.creates = fact.get("call") == "CreateFunction"
        self.resource = "<esm-arn>" if "<esm-arn>" in str(fact.get("request")) else "<fn-arn>"
        self.mapped = False
        self.alias_follows = "CreateAlias" in str(fact.get("given"))
        self.calls: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.exists = False

    def call(self, operation: str, takes: dict[str, str] | None = None, **request: Any) -> None:
        self.calls.append((operation, {"FunctionName": "<fn>", **request}, takes or {}))

    def create(self, kind: str, **more: Any) -> None:
        request: dict[str, Any] = {"Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE, "Code": {"ZipFile": ZIP}}
        if kind == "std":
            request |= {"Handler": "handler.handler", "Timeout": 30, "Environment": {"Variables": {}}}
        elif kind == "java21":
            request |= {"Runtime": "java21", "Handler": "echo.Handler"}
        elif kind == "nodejs":
            request |= {
                "Runtime": "nodejs20.x",
                "Handler": "lambda_handler.handler",
                "Timeout": 30,
                "Environment": {"Variables": {}},
            }
        self.call("CreateFunction", **{**request, **more})
        self.exists = True

    def need_function(self) -> None:
        if not self.exists:
            self.create("std" if self.std else "min", **self.more)

    def publish(self, description: str | None = None, takes: dict[str, str] | None = None) -> None:
        self.need_function()
        self.call("PublishVersion", takes, **({} if description is None else {"Description": description}))

    def two_versions(self) -> None:
        self.publish("First version description :)")
        self.call("UpdateFunctionConfiguration", Description="Second version :))")
        self.publish()

    def aliases(self) -> None:
        self.two_versions()
        weighted = {"AdditionalVersionWeights": {"2": 0.2}}
        self.call("CreateAlias", Name="aliasname1_1", FunctionVersion="1", Description="custom-alias", RoutingConfig=weighted)
        self.call("CreateAlias", Name="aliasname1_2", FunctionVersion="1", Description="custom-alias")
        self.call("CreateAlias", Name="aliasname1_3", FunctionVersion="1")
        self.call("CreateAlias", Name="aliasname2", FunctionVersion="2", Description="custom-alias")

    def alias(self, revision: str | None = None, **more: Any) -> None:
        self.two_versions()
        takes = {"RevisionId": revision} if revision else {}
        self.call("CreateAlias", takes, Name="<alias>", FunctionVersion="1", Description="custom-alias", **more)

    def tags(self, tags: dict[str, str]) -> None:
        self.need_resource()
        self.calls.append(("TagResource", {"Resource": self.resource, "Tags": tags}, {}))

    def need_resource(self) -> None:
        """What is tagged: the function, or a mapping of it."""
        self.need_function()
        if self.resource == "<esm-arn>" and not self.mapped:
            source = {"EventSourceArn": SOURCE, "Topics": ["topic"], "StartingPosition": "LATEST"}
            self.call("CreateEventSourceMapping", {"EventSourceMappingArn": "<esm-arn>"}, **source)
            self.mapped = True

    def config(self, **request: Any) -> None:
        self.need_function()
        self.call("PutFunctionEventInvokeConfig", **request)

    def provisioned(self, qualifier: str) -> None:
        self.publish()
        if qualifier == "<alias>":
            self.call("CreateAlias", Name="<alias>", FunctionVersion="1")
        self.call("PutProvisionedConcurrencyConfig", Qualifier=qualifier, ProvisionedConcurrentExecutions=1)

    def permit(self, revision: str | None = None, **more: Any) -> None:
        self.need_function()
        bucket = "arn:<partition>:s3:::<bucket>"
        request = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceArn": bucket}
        self.call("AddPermission", **request, **more)
        if revision:
            self.call("GetPolicy", {"RevisionId": revision})

    def policy_revision(self, placeholder: str) -> None:
        if not any(operation == "AddPermission" for operation, _, _ in self.calls):
            self.permit()
        self.call("GetPolicy", {"RevisionId": placeholder})

    def permit_version_and_alias(self) -> None:
        self.alias()
        self.permit(Qualifier="1")
        self.permit(Qualifier="<alias>")

    def current_revision(self, placeholder: str, qualifier: str | None = None) -> None:
        self.need_function()
        more = {} if qualifier is None else {"Qualifier": qualifier}
        self.call("GetFunctionConfiguration", {"RevisionId": placeholder}, **more)


SOURCE = "arn:aws:kafka:us-east-1:000000000000:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1"
VPC = {"SubnetIds": ["<subnet>"], "SecurityGroupIds": ["<sg>"]}
CREATE = re.compile(
    r"^(?P<kind>min|std|Zip|java21) function(?: <fn>)?(?: created)?(?P<more>"
    r"(?:(?:,| with| and| in| made)* (?:Active|without tags|without a policy|without such a config|without aliases"
    r"|a VPC|VpcConfig|Publish true \(so \$LATEST and version 1\)|50 tags|Text logging|JSON logging|nothing called v1"
    r"|no SnapStart sent|MemorySize \d+|Timeout \d+|Tags \{[^}]*\}|Environment \{[^}]*\}|LoggingConfig \{LogFormat: JSON\}"
    r'|description "[^"]*"|CodeSha256 <sha256>|RevisionId <uuid(?::\d)?>|versions? 1(?: and 2)?(?: published)?))*)$'
)


def _create(script: Script, match: re.Match[str]) -> None:
    more, request = match["more"], dict[str, Any]()
    for name, value in re.findall(r"(MemorySize|Timeout) (\d+)", more):
        request[name] = int(value)
    for name, value in re.findall(r"(Tags|Environment) (\{[^}]*\})", more):
        parsed = yaml.safe_load(value.replace("<value>", "value"))
        request[name] = {"Variables": parsed} if name == "Environment" else parsed
    if found := re.search(r'description "([^"]*)"', more):
        request["Description"] = found[1]
    if "JSON" in more:
        request["LoggingConfig"] = {"LogFormat": "JSON"}
    if "VPC" in more or "Vpc" in more:
        request["VpcConfig"] = VPC
    if "Publish true" in more:
        request["Publish"] = True
    if "50 tags" in more:
        request["Tags"] = many_tags(50)
    if "VpcConfig" in request:
        request |= {"MemorySize": 256, "Timeout": 5}
    script.create({"Zip": "std" if script.std else "min"}.get(match["kind"], match["kind"]), **request)
    if found := re.search(r"RevisionId (<uuid(?::\d)?>)", more):
        script.current_revision(found[1])
    if "CodeSha256" in more:
        script.call("GetFunctionConfiguration", {"CodeSha256": "<sha256>"})
    if "versions 1 and 2" in more:
        script.two_versions()
    elif "version 1 published" in more:
        script.publish()


Step = Callable[[Script, re.Match[str]], None]
SENTENCES: list[tuple[str, Step]] = [
    (r"no (?:such )?function(?: <fn(?::2)?>| doesnotexist)?|no mapping <uuid>|no such event source mapping"
     r"|no such capacity provider|no function doesnotexist, no such queue|no such queue|six distinct layers exist"
     r"|layer version <arn> published in another region", lambda s, m: None),
    (r"123456789012 is not the own account|State became Active|update finished|version Active|published version Active", lambda s, m: None),
    (r"security group <sg> exists|subnet <subnet> and security group <sg> in VPC <vpc>|account limit Conc\w+ is <limit>(?:, nothing reserved)?", lambda s, m: s.creates or s.need_function()),
    (r"std function <fn> in <region>; call sent to <region>|untagged function|std function; .*<layer>.*"
     r"|std function; no layer doesnotexist", lambda s, m: s.create("std")),
    (r"<alias> without a policy", lambda s, m: s.alias()),
    (r"alias RevisionId (<uuid:\d>)", lambda s, m: s.alias(m[1])),
    (r"AddPermission s3 on the function; policy RevisionId (<uuid:\d>)", lambda s, m: s.permit(m[1])),
    (r"AddPermission s3 on the function|one statement left|function with a policy", lambda s, m: s.permit()),
    (r"every statement removed", lambda s, m: (s.permit(), s.call("RemovePermission", StatementId="s3"))[0]),
    (r"policy RevisionId (<uuid:\d>)", lambda s, m: s.policy_revision(m[1])),
    (r"AddPermission on version 1 and on <alias>", lambda s, m: s.permit_version_and_alias()),
    (r"untagged event source mapping", lambda s, m: s.need_resource()),
    (r"std function <fn:2> \(only \$LATEST\)", lambda s, m: s.calls.append(("CreateFunction", {**std(), "FunctionName": "<fn:2>"}, {}))),
    (r"CreateFunction (min|std): RevisionId (<uuid:\d>)", lambda s, m: create_taking(s, m[1], m[2])),
    (r"function with Runtime nodejs20.x.*", lambda s, m: s.create("nodejs")),
    (r"function (?:<fn> )?was deleted|tagged function <fn>, deleted", lambda s, m: (s.need_function(), s.call("DeleteFunction"))[0]),
    (r'version 1 published(?: with description "([^"]*)")?(?:, RevisionId (<uuid:\d>))?', lambda s, m: s.publish(m[1], takes(m[2]))),
    (r"versions 1 and 2 published(?:; \$LATEST has the description of version 2)?", lambda s, m: s.two_versions()),
    (r'version 1 exists; \$LATEST updated to description "([^"]*)"', lambda s, m: (s.publish(), update(s, Description=m[1]))[0]),
    (r"version 2 just published \(no Description\), RevisionId (<uuid:\d>); .*", lambda s, m: (s.two_versions(), s.current_revision(m[1], "2"))[0]),
    (r"version 1 published, then Environment updated to \{testenv: prod\}", lambda s, m: (s.publish(), update(s, Environment={"Variables": {"testenv": "prod"}}))[0]),
    (r"\$LATEST RevisionId (<uuid:\d>)", lambda s, m: (s.alias_follows and s.publish(), s.current_revision(m[1]))[0]),
    (r"\$LATEST RevisionId (<uuid:\d>), version 1 RevisionId (<uuid:\d>)", lambda s, m: (s.publish(takes=takes(m[2])), s.current_revision(m[1]))[0]),
    (r"version 1 RevisionId (<uuid:\d>)", lambda s, m: s.publish(takes=takes(m[1]))),
    (r"RevisionId was (<uuid:\d>)", lambda s, m: (update(s, Description="1st update description"), s.current_revision(m[1]))[0]),
    (r'description is already "1st update description", RevisionId (<uuid:\d>)', lambda s, m: (update(s, Description="1st update description"), s.current_revision(m[1]))[0]),
    (r"(?:as before, )?JSON logging", lambda s, m: s.create("std", MemorySize=256, Timeout=5, LoggingConfig={"LogFormat": "JSON"})),
    (r"aliases aliasname1_1 .*", lambda s, m: s.aliases()),
    (r"routing of aliasname1_1 removed", lambda s, m: s.call("UpdateAlias", Name="aliasname1_1", RoutingConfig={"AdditionalVersionWeights": {}})),
    (r"alias <alias> exists", lambda s, m: s.alias()),
    (r"alias <alias>(?: on version 1, description custom-alias)?, RevisionId (<uuid:\d>)", lambda s, m: s.alias(m[1])),
    (r'alias with RoutingConfig \{"2": 0.2\}, RevisionId (<uuid:\d>)', lambda s, m: s.alias(m[1], RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}})),
    (r"tags (\{[^}]*\})", lambda s, m: s.tags(yaml.safe_load(m[1]))),
    (r"tags ([A-Z](?:, [A-Z])+)(?: \(D: tag-d\))?", lambda s, m: s.tags({key: f"tag-{key.lower()}" for key in m[1].split(", ")})),
    (r"tags key_a..key_e with value_a..value_e", lambda s, m: s.tags({f"key_{c}": f"value_{c}" for c in "abcde"})),
    (r"every tag removed|function once tagged, then every key untagged", lambda s, m: (s.tags({"A": "b"}), untag(s, "A"))[0]),
    (r"MaximumEventAgeInSeconds is 60", lambda s, m: s.config(MaximumEventAgeInSeconds=60)),
    (r"MaximumEventAgeInSeconds 60 and MaximumRetryAttempts 1 set .*|config (?:set )?on \$LATEST(?: only)?", lambda s, m: s.config(**BOTH)),
    (r"configs on \$LATEST and on version 1", lambda s, m: (s.publish(), s.config(**BOTH), s.config(Qualifier="1", MaximumEventAgeInSeconds=120))[0]),
    (r"<alias> points to version 1, no config on either", lambda s, m: s.call("CreateAlias", Name="<alias>", FunctionVersion="1")),
    (r"config on version 1(?:, Ready)?", lambda s, m: s.provisioned("1")),
    (r"config on version 1 was Ready, then deleted", lambda s, m: (s.provisioned("1"), s.call("DeleteProvisionedConcurrencyConfig", Qualifier="1"))[0]),
    (r"config on version 1; <alias> points to version 1", lambda s, m: (s.provisioned("1"), s.call("CreateAlias", Name="<alias>", FunctionVersion="1"))[0]),
    (r"config on <alias>(?:, which points to version 1)?", lambda s, m: s.provisioned("<alias>")),
    (r"reserved concurrency 1", lambda s, m: (s.need_function(), s.call("PutFunctionConcurrency", ReservedConcurrentExecutions=1))[0]),
]  # fmt: skip
BOTH = {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1}


def std() -> dict[str, Any]:
    script = Script({})
    script.create("std")
    return script.calls[0][1]


def takes(placeholder: str | None) -> dict[str, str]:
    return {"RevisionId": placeholder} if placeholder else {}


def update(script: Script, **request: Any) -> None:
    script.need_function()
    script.call("UpdateFunctionConfiguration", **request)


def untag(script: Script, key: str) -> None:
    script.calls.append(("UntagResource", {"Resource": script.resource, "TagKeys": [key]}, {}))


def create_taking(script: Script, kind: str, placeholder: str) -> None:
    script.create(kind)
    operation, request, _ = script.calls.pop()
    script.calls.append((operation, request, takes(placeholder)))


def script_of(fact: Fact) -> Script:
    """Raises NotUnderstoodError."""
    if NOT_HERE.search(fact["id"] + str(fact.get("given")) + str(fact.get("request")) + str(fact.get("body"))):
        raise NotUnderstoodError("not in this version")
    script = Script(fact)
    given = fact.get("given") or []
    for sentence in given if isinstance(given, list) else [given]:
        if isinstance(sentence, dict):
            _called(script, dict(sentence))
        elif match := CREATE.fullmatch(sentence):
            _create(script, match)
        else:
            for pattern, step in SENTENCES:
                if match := re.fullmatch(pattern, sentence):
                    step(script, match)
                    break
            else:
                raise NotUnderstoodError(sentence)
    return script


def _called(script: Script, sentence: dict[str, Any]) -> None:
    returns = str(sentence.pop("returns", ""))
    (operation, request), *_ = sentence.items()
    if operation not in OPERATIONS:
        raise NotUnderstoodError(operation)
    script.need_function()
    published = sum(called == "PublishVersion" for called, _, _ in script.calls)
    if operation == "CreateAlias" and not published:
        script.two_versions()
    elif operation == "CreateAlias" and "RoutingConfig" in request and published == 1:
        script.call("UpdateFunctionConfiguration", Description="Second version :))")
        script.publish()
    elif operation == "UpdateAlias" and not any(called == "CreateAlias" for called, _, _ in script.calls):
        script.alias()
    elif (operation == "PutFunctionEventInvokeConfig" and request.get("Qualifier") == "1" and not published) or (
        operation == "AddPermission" and request.get("Qualifier") == "1" and not published
    ):
        script.publish()
    found = re.match(r'(?:Version "1", )?RevisionId (<uuid:\d>)', returns)
    if "Resource" in operation:
        script.need_resource()
    named = {"Resource": script.resource} if "Resource" in operation else {"FunctionName": "<fn>"}
    script.calls.append((operation, {**named, **request}, takes(found[1] if found else None)))


def understood() -> list[Fact]:
    """The facts that can be run."""
    found = []
    for fact in load():
        try:
            script_of(fact)
        except NotUnderstoodError:
            continue
        found.append(fact)
    return found


def many_tags(count: int) -> dict[str, str]:
    return {f"{number:02}_key": f"{number:02}_value" for number in range(count)}


class Values:
    """The placeholders of one fact. What is not known beforehand gets its value where it is first seen."""

    def __init__(self, fact: Fact) -> None:
        name = f"f-{uuid.uuid4().hex[:10]}"
        if fact["id"].endswith("arn-141-characters"):
            name = "a" * (141 - len(arn("")))
        self.known: dict[str, Any] = {
            "fn": name,
            "fn:2": f"{name}-2",
            "fn-arn": arn(name),
            "fn-arn:2": arn(f"{name}-2"),
            "role-arn": ROLE,
            "zip": ZIP,
            "zip:2": OTHER_ZIP,
            "zip:3": zip_of({"third": "x"}),
            "account": ACCOUNT,
            "region": REGION,
            "partition": "aws",
            "alias": "alias1",
            "missing": "missing",
            "other-region": "ap-southeast-1",
            "runtime": "nodejs14.x",
            "subnet": "subnet-0123",
            "subnet:2": "subnet-4567",
            "sg": "sg-0123",
            "sg:2": "sg-4567",
            "bad-subnet": "bad_subnet",
            "bad-sg": "bad_sg",
            "value": "value",
            "arn": f"arn:aws:lambda:ap-southeast-1:{ACCOUNT}:layer:l:1",
            "layer": "layer",
            "layer-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:layer",
            "name": "name",
            "bucket": "bucket",
            "user-arn": f"arn:aws:iam::{ACCOUNT}:user/someone",
            "limit": LIMIT,
            "min-unreserved": 100,
        }
        if "event-source" in fact["id"]:
            self.known["uuid"] = str(uuid.uuid4())
            self.known["esm-arn"] = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{self.known['uuid']}"

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if match := re.fullmatch(r"<(\d+) times (\w)>", value):
            return match[2] * int(match[1])
        if match := re.fullmatch(r"<(?:the )?(\d+) tags>", value):
            return many_tags(int(match[1]))
        if value == "<six layer version ARNs>":
            return [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l{number}:1" for number in range(6)]
        if match := re.fullmatch(r"<limit \+ 1>", value):
            return LIMIT + 1
        if value.startswith("<zip of at least"):
            return bytes(52_428_800)
        if (match := PLACEHOLDER.fullmatch(value)) and match[1] in self.known:
            return self.known[match[1]]
        value = re.sub(r"<(\d+) times (\w)>", lambda match: match[2] * int(match[1]), value)
        return PLACEHOLDER.sub(lambda match: str(self.known.get(match[1], match[0])), value)

    def differences(self, expected: Any, found: Any, path: str = "") -> list[str]:
        """Where the two differ; placeholders without a value take the one found."""
        expected = self.fill(expected)
        if isinstance(expected, dict):
            if set(expected) == {"$json"}:
                return self.differences(expected["$json"], json.loads(found), path)
            if not isinstance(found, dict):
                return [f"{path}: {found!r} is not an object"]
            keys = {key for key, item in expected.items() if item is not None} | {k for k, v in found.items() if v is not None}
            return [
                text for key in sorted(keys) for text in self.differences(expected.get(key), found.get(key), f"{path}.{key}")
            ]
        if isinstance(expected, list):
            if not isinstance(found, list) or len(expected) != len(found):
                return [f"{path}: {found!r} has not {len(expected)} items"]
            pairs = enumerate(zip(expected, found, strict=True))
            return [text for n, (one, other) in pairs for text in self.differences(one, other, f"{path}[{n}]")]
        if isinstance(expected, str) and isinstance(found, str | int | float):
            return self._text(expected, found, path)
        return [] if expected == found else [f"{path}: {found!r} instead of {expected!r}"]

    def _text(self, expected: str, found: Any, path: str) -> list[str]:
        if match := PLACEHOLDER.fullmatch(expected):
            kind, _, _ = match[1].partition(":")
            fits = {"epoch": int | float, "size": int, "number": int}.get(kind, str)
            if not isinstance(found, fits):
                return [f"{path}: {found!r} is no {kind}"]
            taken = [name for name, value in self.known.items() if kind == "uuid" and value == found]
            if taken:
                return [f"{path}: {expected} has the value of {taken}"]
            if kind not in ("size", "date", "epoch", "url", "number"):
                self.known[match[1]] = found
            return []
        pattern = "".join(re.escape(part) if index % 2 == 0 else ".+" for index, part in enumerate(PLACEHOLDER.split(expected)))
        if re.fullmatch(pattern, str(found), re.DOTALL):
            return []
        return [f"{path}: {found!r} instead of {expected!r}"]


def arn(name: str) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
