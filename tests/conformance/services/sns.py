"""SNS: the query protocol alone. Topics and subscriptions are made as sentences tell; nothing that is subscribed has to exist."""

from __future__ import annotations

import asyncio
import re
import urllib.request
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

import asyncpg
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conformance.control_plane import KEY, SECRET
from tests.conformance.facts import Fact, load
from tests.conformance.runner import Run
from tests.conformance.services.service import ACCOUNT, OTHER_REGION, REGION, Service, unique
from tests.conformance.steps import Step
from tests.conformance.values import Values
from tests.conformance.wire import Answer

QUERY_S = 30.0
TOKEN = "the token"
"""A step that is no call: what a confirmation message would bring."""
OF_THE_ACCOUNT = {"ListTopics", "GetSMSAttributes", "ListPlatformApplications", "ListPhoneNumbersOptedOut"}
"""Whose answers depend on everything that the account has."""
AFTER = re.compile(r"(?:after|as) ([a-z0-9.-]+)")
BYTES_OF = re.compile(r"bytes of (\w+)")
TIMES = re.compile(r"(\d+) times (\w)")
DELIVERY_POLICY = {"http": {"defaultRequestPolicy": {"headerContentType": "application/json"}}}
NO_RETRY = {
    "minDelayTarget": 1,
    "maxDelayTarget": 1,
    "numRetries": 0,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}
WITHOUT_RETRIES = {
    "healthyRetryPolicy": NO_RETRY,
    "sicklyRetryPolicy": None,
    "throttlePolicy": {"maxReceivesPerSecond": 1000},
    "guaranteed": False,
}


class SnsValues(Values):
    def computed(self, text: str) -> Any:
        if match := BYTES_OF.fullmatch(text):
            return match[1].encode()
        if match := TIMES.fullmatch(text):
            return match[2] * int(match[1])
        topic_arn, queue_arn = str(self.known["topic-arn"]), str(self.known["queue-arn"])
        return {
            "264000 bytes": "x" * 264_000,
            # attr1, Number and 1 are twelve bytes.
            "so long that message + attribute = 262145 bytes": "x" * (262_145 - 12),
            "<topic-arn of the other region>": topic_arn.replace(REGION, OTHER_REGION),
            "<topic-arn of region A>": topic_arn.replace(REGION, OTHER_REGION),
            "<queue-arn of region B>": queue_arn.replace(REGION, OTHER_REGION),
            "well-formed token (288 hex characters), never issued": "0f" * 144,
            "11 entries {Id: Id_<n>, Message: Too many messages}": [
                {"Id": f"Id_{number}", "Message": "Too many messages"} for number in range(11)
            ],
        }.get(text)


def topic(fact: Fact, **more: Any) -> Step:
    attributes = {"FifoTopic": "true", **more.pop("Attributes", {})} if is_fifo(fact) else more.pop("Attributes", {})
    return Step("CreateTopic", {"Name": "<topic-name>", "Attributes": attributes, **more}, {"TopicArn": "topic-arn"})


def subscribed(protocol: str = "sqs", endpoint: str = "<queue-arn>", **attributes: Any) -> Step:
    request = {
        "TopicArn": "<topic-arn>",
        "Protocol": protocol,
        "Endpoint": endpoint,
        "ReturnSubscriptionArn": True,
        "Attributes": attributes,
    }
    return Step("Subscribe", request, {"SubscriptionArn": "sub-arn"})


def set_to(name: str, value: Any) -> Step:
    return Step("SetSubscriptionAttributes", {"SubscriptionArn": "<sub-arn>", "AttributeName": name, "AttributeValue": value})


def set_topic(name: str, value: Any) -> Step:
    return Step("SetTopicAttributes", {"TopicArn": "<topic-arn>", "AttributeName": name, "AttributeValue": value})


def application() -> Step:
    credentials = {"PlatformPrincipal": "id", "PlatformCredential": "secret"}
    return Step(
        "CreatePlatformApplication",
        {"Name": "<app>", "Platform": "ADM", "Attributes": credentials},
        {"PlatformApplicationArn": "app-arn"},
    )


def device(**more: Any) -> list[Step]:
    request = {"PlatformApplicationArn": "<app-arn>", "Token": "token_1", **more}
    return [application(), Step("CreatePlatformEndpoint", request, {"EndpointArn": "endpoint-arn"})]


def is_fifo(fact: Fact) -> bool:
    """Also where it is said by the entry that this one comes after."""
    if after := AFTER.fullmatch("".join(map(str, fact.given))):
        return is_fifo(next(other for other in load("sns") if other.id == after[1]))
    return "FIFO topic" in fact.told or ".fifo" in fact.told


def with_delivery_policy(fact: Fact) -> Step:
    return topic(
        fact,
        Attributes={"DisplayName": "TestTopic", "SignatureVersion": "2", "DeliveryPolicy": {"$json": DELIVERY_POLICY}},
    )


class Sns(Service):
    name, title, botocore, protocols = "sns", "SNS", "sns", ("query",)
    values_class = SnsValues
    forms: Mapping[str, str | None] = {
        "message-id": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "sequence-number": r"\d{20}",
        "sub-arn": rf"arn:aws:sns:{REGION}:{ACCOUNT}:[\w.-]+:[0-9a-f-]{{36}}",
    }
    nothing = r"no (?:such )?(?:topic|application)\b.*|nothing was ever set in this region"
    sentences = {
        r"(?:std|standard|FIFO) topic(?: without ContentBasedDeduplication)?(?:, .*|(?: and .*))?": lambda fact, match: [
            topic(fact)
        ],
        r"only topic <topic> in this account and region": lambda fact, match: [topic(fact)],
        r"topic <topic> created with Tags .*": lambda fact, match: [
            topic(fact, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
        ],
        r"topic <topic> created without tags": lambda fact, match: [topic(fact)],
        r"CreateTopic of a FIFO topic with .*": lambda fact, match: [with_delivery_policy(fact)],
        r"FIFO topic (?:of get-topic-attributes\.delivery-policy-given-at-creation|with a delivery policy)": lambda fact, match: [
            with_delivery_policy(fact)
        ],
        r"topic (?:created and then|already) deleted": lambda fact, match: [
            topic(fact),
            Step("DeleteTopic", {"TopicArn": "<topic-arn>"}),
        ],
        r"tagged topic deleted, then created again .*": lambda fact, match: [
            topic(fact, Tags=[{"Key": "a", "Value": "1"}]),
            Step("DeleteTopic", {"TopicArn": "<topic-arn>"}),
            topic(fact),
        ],
        r"the topic exists in another region .*": lambda fact, match: [
            Step("CreateTopic", {"Name": "<topic-name>"}, region=OTHER_REGION)
        ],
        r"topic in region A, call made to region B .*": lambda fact, match: [
            Step("CreateTopic", {"Name": "<topic-name>"}, region=OTHER_REGION)
        ],
        r"topic in region A \(the one called\), .*": lambda fact, match: [topic(fact)],
        r"permission with Label test already on the topic": lambda fact, match: [
            topic(fact),
            Step(
                "AddPermission",
                {"TopicArn": "<topic-arn>", "Label": "test", "AWSAccountId": [ACCOUNT], "ActionName": ["Publish"]},
            ),
        ],
        r"(?:one )?sqs sub(?: without attributes|, FilterPolicyScope MessageAttributes \(default\))?": lambda fact, match: [
            topic(fact),
            subscribed(),
        ],
        r'sqs sub created with Attributes \{RawMessageDelivery: "(?i:true)"\}|sqs sub with raw': lambda fact, match: [
            topic(fact),
            subscribed(RawMessageDelivery="true"),
        ],
        r"sqs sub, SetSubscriptionAttributes FilterPolicy .*": lambda fact, match: [
            topic(fact),
            subscribed(),
            set_to("FilterPolicy", {"$json": {"attr1": [{"numeric": [">", 0, "<=", 100]}]}}),
        ],
        r"sqs sub, FilterPolicyScope set to MessageBody, then .*": lambda fact, match: [
            topic(fact),
            subscribed(),
            set_to("FilterPolicyScope", "MessageBody"),
            set_to("FilterPolicy", {"$json": {"object": {"key": [{"prefix": "auto-"}]}}}),
        ],
        r"sqs sub, FilterPolicyScope MessageBody": lambda fact, match: [
            topic(fact),
            subscribed(FilterPolicyScope="MessageBody"),
        ],
        r"well-formed subscription ARN that does not exist .*": lambda fact, match: [],
        r"lambda subscription on which RedrivePolicy was set": lambda fact, match: [
            topic(fact),
            subscribed("lambda", "<fn-arn>"),
            set_to("RedrivePolicy", {"$json": {"deadLetterTargetArn": "<dlq-arn>"}}),
        ],
        r"pending http subscription, raw, .*": lambda fact, match: [
            topic(fact),
            subscribed("http", "http://<host>/sns-endpoint", RawMessageDelivery="true"),
            set_to("DeliveryPolicy", {"$json": WITHOUT_RETRIES}),
            set_to("DeliveryPolicy", {"$json": {"requestPolicy": {"headerContentType": "text/csv"}}}),
        ],
        r"pending http subscription whose DeliveryPolicy was set to .*": lambda fact, match: [
            topic(fact),
            set_topic("DeliveryPolicy", {"$json": DELIVERY_POLICY}),
            subscribed("http", "http://<host>/sns-endpoint"),
            set_to("DeliveryPolicy", {"$json": WITHOUT_RETRIES}),
        ],
        r"FIFO queue subscribed to a FIFO topic; .*": lambda fact, match: [
            topic(fact),
            subscribed(endpoint="<queue-arn>.fifo"),
        ],
        r"subscription already removed": lambda fact, match: [
            topic(fact),
            subscribed(),
            Step("Unsubscribe", {"SubscriptionArn": "<sub-arn>"}),
        ],
        r"https subscription pending, .*": lambda fact, match: [
            topic(fact),
            subscribed("https", "https://<host>/sns-endpoint"),
            Step(TOKEN, {}),
        ],
        r"(?:one|new|ADM) application(?: <app>)?": lambda fact, match: [application()],
        r"(?:one )?endpoint(?: with Token token_1(?: exists .*)?)?": lambda fact, match: device(),
        r"CreatePlatformEndpoint \{.*\}": lambda fact, match: device(CustomUserData="bar"),
        r"one number opted out": lambda fact, match: [],
    }

    def operations(self) -> Set[str]:
        from services.frontend.apis.sns.operations import OPERATIONS

        return OPERATIONS.keys()

    def placeholders(self, fact: Fact) -> dict[str, Any]:
        name = unique("t")
        fixed = re.search(r"CreateTopic \{Name: ([\w.]+),", fact.told)
        made = fixed[1] if fixed is not None else f"{name}.fifo" if is_fifo(fact) else name
        sns, sqs = f"arn:aws:sns:{REGION}:{ACCOUNT}", f"arn:aws:sqs:{REGION}:{ACCOUNT}"
        created = fact.request.get("Name") if fact.call == "CreateTopic" and isinstance(fact.request, dict) else None
        if created is not None and (times := TIMES.fullmatch(created)):
            made = times[2] * int(times[1])
        app = unique("app")
        queue = unique("q")
        return {
            "topic": name,
            "topic-name": made,
            "topic-arn": f"{sns}:{made}",
            "queue-arn": f"{sqs}:{queue}",
            "fifo-queue-arn": f"{sqs}:{queue}.fifo",
            "dlq-arn": f"{sqs}:{unique('dlq')}",
            "fn-arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{unique('f')}",
            "host": "127.0.0.1:1",
            "c": "@",
            "number": _number(fact),
            "name": "a" * 257 if fact.call == "CreatePlatformApplication" else "InvalidKey",
            "app": app,
            "app-arn": f"{sns}:app/ADM/{app}",
            **({"sub-arn": f"{sns}:{made}:{uuid.uuid4()}"} if "does not exist" in fact.told else {}),
        }

    def steps_of(self, fact: Fact, sentence: str | dict[str, Any]) -> Sequence[Step]:
        if isinstance(sentence, str) and (match := AFTER.fullmatch(sentence)):
            other = self.fact(match[1])
            last = [Step(other.call, other.request, {"SubscriptionArn": "sub-arn"} if other.call == "Subscribe" else {})]
            return [*self.steps(other), *(last if sentence.startswith("after") and other.call is not None else [])]
        steps = super().steps_of(fact, sentence)
        if isinstance(sentence, str) and sentence.startswith("TagResource"):
            return [topic(fact), *steps]
        return steps

    def begin(self, run: Run) -> None:
        if run.fact.call in OF_THE_ACCOUNT:
            run.plane.empty_account()

    def perform(self, run: Run, step: Step, last: bool) -> None:
        if step.operation == TOKEN:
            run.values.known["token"] = asyncio.run(_token_of(run.plane.database_url, run.values.known["sub-arn"]))
        else:
            run.make(step)

    def request(self, fact: Fact) -> dict[str, Any]:
        if not isinstance(fact.request, dict):
            return {"TopicArn": "<topic-arn>", "Message": "..."}
        return fact.request

    def more(self, run: Run, request: dict[str, Any], answer: Answer) -> list[str]:
        if isinstance(run.fact.request, dict):
            return []
        url = f"{run.plane.endpoint}/?Action=Publish&Version=2010-03-31&TopicArn={request['TopicArn']}&Message=text"
        signed = AWSRequest("POST", url)
        SigV4Auth(Credentials(KEY, SECRET), "sns", REGION).add_auth(signed)
        prepared = signed.prepare()
        with urllib.request.urlopen(
            urllib.request.Request(prepared.url, b"", dict(prepared.headers.items()), method="POST"), timeout=QUERY_S
        ) as response:
            text = response.read().decode()
        form = r"<PublishResponse [^>]*><PublishResult><MessageId>[0-9a-f-]{36}</MessageId></PublishResult><ResponseMetadata>.*"
        return [] if re.fullmatch(form, text) else [f"{text} is not of that form"]

    def unordered(self, fact: Fact) -> bool:
        return "order of the tags is not specified" in fact.note or super().unordered(fact)


def _number(fact: Fact) -> str:
    return "+1a234" if fact.call == "Publish" else "+15--551234567"


async def _token_of(database_url: str, subscription_arn: str) -> str:
    connection = await asyncpg.connect(database_url, timeout=QUERY_S)
    try:
        query = "SELECT token FROM sns_subscriptions WHERE id = $1"
        return str(await connection.fetchval(query, subscription_arn.rpartition(":")[2], timeout=QUERY_S))
    finally:
        await connection.close(timeout=QUERY_S)
