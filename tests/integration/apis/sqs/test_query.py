"""The query protocol as old clients speak it: at the queue's own URL, as a form or in a link."""

from __future__ import annotations

import asyncio
import http.client
import xml.etree.ElementTree as ET
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.integration.apis.sqs.conftest import Sqs
from tests.integration.frontend.conftest import KEY, SECRET

NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"


async def ask(sqs_api: Sqs, method: str, url: str, **fields: str) -> tuple[int, ET.Element]:
    # Clients that name no version are served, too.
    form = urlencode({"Version": "2012-11-05", **fields} if method == "POST" else fields)
    headers = {"content-type": "application/x-www-form-urlencoded"} if method == "POST" else {}
    if method == "GET":
        url, form = f"{url}?{form}", ""
    request = AWSRequest(method, url, data=form, headers=headers)
    SigV4Auth(Credentials(KEY, SECRET), "sqs", "us-east-1").add_auth(request)
    parts = urlsplit(url)

    def send() -> tuple[int, ET.Element]:
        connection = http.client.HTTPConnection(parts.netloc, timeout=30)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, target, form or None, dict(request.headers.items()))
            answer = connection.getresponse()
            assert answer.getheader("content-type") == "text/xml"
            return answer.status, ET.fromstring(answer.read())
        finally:
            connection.close()

    return await asyncio.to_thread(send)


def texts(element: ET.Element, name: str) -> list[str | None]:
    return [found.text for found in element.iter(NAMESPACE + name)]


async def test_a_form_or_a_link_at_the_queues_own_url_is_about_that_queue(sqs_api: Sqs) -> None:
    url = await sqs_api.queue()
    attribute: dict[str, Any] = {
        "MessageAttribute.1.Name": "kind",
        "MessageAttribute.1.Value.DataType": "String",
        "MessageAttribute.1.Value.StringValue": "a & b",
    }
    status, sent = await ask(sqs_api, "POST", url, Action="SendMessage", MessageBody="<one>", **attribute)
    assert (status, sent.tag) == (200, NAMESPACE + "SendMessageResponse")
    status, _ = await ask(sqs_api, "GET", url, Action="SendMessage", MessageBody="two")
    assert status == 200
    status, found = await ask(
        sqs_api,
        "POST",
        url,
        Action="ReceiveMessage",
        MaxNumberOfMessages="10",
        **{"MessageAttributeName.1": "All", "AttributeName.1": "SentTimestamp"},
    )
    assert status == 200
    assert texts(found, "Body") == ["<one>", "two"]
    assert texts(found, "MessageId")[0] == texts(sent, "MessageId")[0]
    assert texts(found, "StringValue") == ["a & b"]
    assert texts(found, "Name") == ["SentTimestamp", "kind", "SentTimestamp"]
    handle = texts(found, "ReceiptHandle")[0] or ""
    status, deleted = await ask(sqs_api, "POST", url, Action="DeleteMessage", ReceiptHandle=handle)
    assert (status, deleted.tag) == (200, NAMESPACE + "DeleteMessageResponse")


async def test_an_error_has_the_codes_and_the_form_of_the_query_protocol(sqs_api: Sqs) -> None:
    url = f"{sqs_api.frontend.url}/000000000000/none"
    status, found = await ask(sqs_api, "POST", url, Action="SendMessage", MessageBody="x")
    assert status == 400
    [error] = found.iter(NAMESPACE + "Error")
    assert [(child.tag.removeprefix(NAMESPACE), child.text) for child in error] == [
        ("Type", "Sender"),
        ("Code", "AWS.SimpleQueueService.NonExistentQueue"),
        ("Message", "The specified queue does not exist for this wsdl version."),
        ("Detail", None),
    ]
    status, found = await ask(sqs_api, "POST", url, Action="FooBar")
    assert (status, texts(found, "Message")) == (400, ["The action FooBar is not valid for this endpoint."])
    # What is not about one queue is not asked at a queue's URL.
    for action in ("CreateQueue", "ListQueues"):
        status, found = await ask(sqs_api, "POST", url, Action=action, QueueName="q")
        assert (status, texts(found, "Message")) == (400, [f"The action {action} is not valid for this endpoint."])
    status, found = await ask(sqs_api, "POST", sqs_api.frontend.url + "/", Action="SendMessage", MessageBody="x")
    assert (status, texts(found, "Code")) == (400, ["MissingParameter"])
    status, found = await ask(sqs_api, "POST", url, Action="SendMessage", MessageBody="x", DelaySeconds="soon")
    assert (status, texts(found, "Code")) == (400, ["MalformedInput"])
