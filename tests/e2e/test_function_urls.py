"""Function URLs by plain HTTP clients against the running cluster."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import urllib.request
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conftest import Cluster
from tests.e2e.conftest import MakeFunction
from tests.support import NODE

ECHO = "def handler(event, context):\n    return event\n"
FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
NODE_ECHO = "export const handler = async (event) => ({ statusCode: 201, body: event.requestContext.http.method });\n"


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.headers if found == name]

    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """A URL's clients. Names under localhost need not resolve: they connect to the endpoint and name the host."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        endpoint = urlsplit(cluster.endpoint)
        assert endpoint.hostname is not None
        assert endpoint.port is not None
        self.address = (endpoint.hostname, endpoint.port)
        self.host = urlsplit(url).netloc

    def __call__(
        self,
        method: str = "GET",
        target: str = "/",
        body: bytes | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Sends the target as it is, which HTTP libraries do not."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", self.host)
            for name, value in headers:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            return Answer(reply.status, [(name.lower(), value) for name, value in reply.getheaders()], reply.read())
        finally:
            connection.close()

    def signed(self, cluster: Cluster, method: str, target: str, body: bytes = b"") -> list[tuple[str, str]]:
        request = AWSRequest(method, f"http://{self.host}{target}", {"Host": self.host}, body)
        SigV4Auth(Credentials(cluster.access_key_id, cluster.secret_access_key), "lambda", "us-east-1").add_auth(request)
        return [(name, value) for name, value in request.headers.items() if name != "Host"]


def permit(client: Any, name: str, **more: Any) -> None:
    """Both permissions that a public URL needs."""
    request = {"FunctionName": name, "Principal": "*", **more}
    client.add_permission(**request, StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
    client.add_permission(**request, StatementId="via-url", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True)


def site_of(cluster: Cluster, client: Any, name: str, **settings: Any) -> Site:
    """A public URL of a function."""
    made = client.create_function_url_config(FunctionName=name, **{"AuthType": "NONE", **settings})
    permit(client, name, **{key: value for key, value in settings.items() if key == "Qualifier"})
    return Site(cluster, made["FunctionUrl"])


def test_an_event_is_made_of_everything_in_the_request(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    site = site_of(cluster, client, name)
    answer = site(
        "POST",
        "/pa2%Fth/1?q=query&multiQuery=foo&multiQuery=%2Fbar",
        b'{"foo": "bar"}',
        [
            ("Content-Type", "application/json"),
            ("Extra-Headers", "With WeiRd CapS"),
            ("Cookie", "a=1; b=2"),
            ("X-Two", "1"),
            ("X-Two", "2"),
        ],
    )
    event = answer.json()
    assert (answer.status, answer.all("content-type")) == (200, ["application/json"])
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/pa2%Fth/1", "q=query&multiQuery=foo&multiQuery=%2Fbar")
    assert event["queryStringParameters"] == {"q": "query", "multiQuery": "foo,/bar"}
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["body"], event["isBase64Encoded"]) == ('{"foo": "bar"}', False)
    assert event["headers"]["extra-headers"] == "With WeiRd CapS"
    assert event["headers"]["x-two"] == "1,2"
    assert event["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert event["headers"]["x-forwarded-port"] == str(site.address[1])
    context = event["requestContext"]
    assert context["http"] == {"method": "POST", "path": "/pa2%Fth/1", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"}
    assert site.host.startswith(context["apiId"] + ".lambda-url.us-east-1.localhost:")
    assert answer.all("x-amzn-requestid") == [context["requestId"]]
    assert answer.all("x-amzn-trace-id") == [event["headers"]["x-amzn-trace-id"]]


def test_any_http_library_reaches_a_url_by_its_path(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    site = site_of(cluster, client, make_function(ECHO))
    base = f"{cluster.endpoint}/_lambdad/urls/{site.host.partition('.')[0]}"
    with urllib.request.urlopen(f"{base}/a%20b?x=1", timeout=30) as answer:
        event = json.loads(answer.read())
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b", "x=1")
    assert event["requestContext"]["domainName"] == site.host.partition(":")[0]
    assert event["headers"]["host"] == urlsplit(cluster.endpoint).netloc


@pytest.mark.needs(NODE)
def test_all_methods_arrive_and_bodies_of_any_kind(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    site = site_of(cluster, client, make_function(NODE_ECHO, runtime=NODE))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = site(method, "/", None if method == "GET" else b"\x00\xff")
        assert (answer.status, answer.body) == (201, method.encode())
    head = site("HEAD")
    assert (head.status, head.body, head.all("content-length")) == (201, b"", ["4"])


def test_a_function_says_what_the_answer_is(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "import base64\n"
        "ANSWERS = {\n"
        "    '/plain': 'hi',\n"
        "    '/object': {'a': 1},\n"
        "    '/status': {'statusCode': '418', 'body': \"i'm a teapot\"},\n"
        "    '/body': {'statusCode': 200, 'body': {'a': 1}},\n"
        "    '/binary': {'statusCode': 200, 'headers': {'Content-Type': 'image/png'}, 'isBase64Encoded': True,\n"
        "                'body': base64.b64encode(bytes(range(256))).decode()},\n"
        "    '/cookies': {'statusCode': 302, 'headers': {'Location': '/x', 'My-Custom-Header': 'Custom Value'},\n"
        "                 'cookies': ['a=1; Path=/', 'b=2']},\n"
        "    '/empty': {'statusCode': 204},\n"
        "    '/bad': {'statusCode': 'nonsense'},\n"
        "    '/split': {'statusCode': 200, 'headers': {'a': 'b\\r\\nset-cookie: evil=1'}},\n"
        "}\n"
        "def handler(event, context):\n"
        "    if event['rawPath'] == '/raise':\n"
        "        raise ValueError('a secret')\n"
        "    return ANSWERS[event['rawPath']]\n"
    )
    site = site_of(cluster, client, name)
    assert site("GET", "/plain")[::2] == (200, b"hi")
    assert site("GET", "/object").json() == {"a": 1}
    assert site("GET", "/status")[::2] == (418, b"i'm a teapot")
    assert site("GET", "/body").json() == {"a": 1}
    binary = site("GET", "/binary")
    assert (binary.body, binary.all("content-type")) == (bytes(range(256)), ["image/png"])
    cookies = site("GET", "/cookies")
    assert (cookies.status, cookies.all("set-cookie"), cookies.all("location")) == (302, ["a=1; Path=/", "b=2"], ["/x"])
    assert cookies.all("my-custom-header") == ["Custom Value"]
    assert site("GET", "/empty")[::2] == (204, b"")
    for path in ("/bad", "/split", "/raise"):
        answer = site("GET", path)
        assert answer[::2] == (502, b"Internal Server Error")
        assert answer.all("set-cookie") == []


def test_a_timeout_is_a_502_and_the_next_request_works(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    source = (
        "import time\ndef handler(event, context):\n    event['rawPath'] == '/slow' and time.sleep(30)\n    return 'done'\n"
    )
    site = site_of(cluster, client, make_function(source, Timeout=1))
    assert site("GET", "/slow")[::2] == (502, b"Internal Server Error")
    assert site("GET", "/fast")[::2] == (200, b"done")


def test_six_megabytes_are_the_most_in_and_out(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(
        "def handler(event, context):\n    return 'x' * int(event['rawPath'][1:] or len(event['body']))\n", MemorySize=512
    )
    site = site_of(cluster, client, name)
    text = [("Content-Type", "text/plain")]
    assert len(site("POST", "/", b"x" * 6_000_000, text).body) == 6_000_000
    answer = site("POST", "/", b"x" * (6 * 1024 * 1024 + 1), text)
    assert (answer.status, answer.all("x-amzn-errortype")) == (413, ["RequestEntityTooLargeException"])
    assert site("GET", "/6291000").status == 200
    assert site("GET", "/7000000")[::2] == (502, b"Internal Server Error")


def test_nobody_gets_in_without_both_permissions(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    site = Site(cluster, client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"])

    def refused() -> bool:
        answer = site()
        if answer.status == 200:
            return False
        assert (answer.status, answer.json(), answer.all("x-amzn-errortype")) == (
            403,
            {"Message": FORBIDDEN},
            ["AccessDeniedException"],
        )
        return True

    assert refused()
    request = {"FunctionName": name, "Principal": "*"}
    client.add_permission(**request, StatementId="a", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE")
    assert refused()
    client.add_permission(**request, StatementId="b", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True)
    assert not refused()
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    allow = {"Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": arn}
    deny = {**allow, "Effect": "Deny", "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}}
    client.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow, deny]}))
    assert refused()
    client.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": allow}))
    assert not refused()
    client.delete_resource_policy(ResourceArn=arn)
    assert refused()


def test_signed_requests_reach_a_url_that_wants_them(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    url = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")["FunctionUrl"]
    site = Site(cluster, url)
    assert site().json() == {"Message": FORBIDDEN}
    target, body = "/a/b?x=1&y=%2Fz", b"payload"
    headers = site.signed(cluster, "PUT", target, body)
    answer = site("PUT", target, body, headers)
    assert answer.status == 200
    assert answer.json()["requestContext"]["authorizer"]["iam"]["accessKey"] == cluster.access_key_id
    tampered = site("PUT", target, b"another", headers)
    assert (tampered.status, tampered.all("x-amzn-errortype")) == (403, ["InvalidSignatureException"])
    client.update_function_url_config(FunctionName=name, AuthType="NONE")
    permit(client, name)
    assert site().status == 200


def test_an_alias_has_a_url_of_its_own_until_it_goes(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function("def handler(event, context):\n    return context.function_version\n")
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    own = site_of(cluster, client, name)
    live = site_of(cluster, client, name, Qualifier="live")
    assert (own().body, live().body) == (b"$LATEST", b"1")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    assert live().body == b"$LATEST"
    client.delete_alias(FunctionName=name, Name="live")
    gone = live()
    assert (gone.status, gone.json()) == (403, {"Message": FORBIDDEN})
    client.delete_function_url_config(FunctionName=name)
    assert own().status == 403
    unknown = Site(cluster, f"http://{uuid.uuid4().hex}.lambda-url.us-east-1.localhost/")()
    assert (unknown.status, unknown.body) == (403, b'{"Message":null}')


def test_browsers_of_allowed_origins_may_call(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    cors = {
        "AllowOrigins": ["https://page.example"],
        "AllowMethods": ["GET", "PUT"],
        "AllowHeaders": ["x-a"],
        "ExposeHeaders": ["x-b"],
        "AllowCredentials": True,
        "MaxAge": 600,
    }
    site = site_of(cluster, client, make_function(ECHO), Cors=cors)
    asked = [
        ("Origin", "https://page.example"),
        ("Access-Control-Request-Method", "PUT"),
        ("Access-Control-Request-Headers", "x-a"),
    ]
    preflight = site("OPTIONS", "/any", None, asked)
    found = {name: value for name, value in preflight.headers if name.startswith("access-control-")}
    assert (preflight.status, preflight.body) == (200, b"")
    assert found == {
        "access-control-allow-origin": "https://page.example",
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET,PUT",
        "access-control-allow-headers": "x-a",
        "access-control-max-age": "600",
    }
    answer = site("PUT", "/", b"", [("Origin", "https://page.example")])
    assert answer.all("access-control-allow-origin") == ["https://page.example"]
    assert answer.all("access-control-expose-headers") == ["x-b"]
    assert site("GET", "/", None, [("Origin", "https://evil.example")]).all("access-control-allow-origin") == []


def test_what_a_function_says_of_origins_counts_only_where_the_url_says_nothing(
    cluster: Cluster, client: Any, make_function: MakeFunction
) -> None:
    source = """
def handler(event, context):
    return {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "https://own.example", "x-own": "1"}, "body": ""}
"""
    origin = [("Origin", "https://page.example")]
    plain = site_of(cluster, client, make_function(source))("GET", "/", None, origin)
    assert plain.all("access-control-allow-origin") == ["https://own.example"]
    replaced = site_of(cluster, client, make_function(source), Cors={"AllowOrigins": ["https://page.example"]})
    answer = replaced("GET", "/", None, origin)
    assert answer.all("access-control-allow-origin") == ["https://page.example"]
    assert answer.all("x-own") == ["1"]


def test_a_function_without_concurrency_answers_429(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    name = make_function(ECHO)
    site = site_of(cluster, client, name)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = site()
    assert (answer.status, answer.all("x-amzn-errortype")) == (429, ["TooManyRequestsException"])
    client.delete_function_concurrency(FunctionName=name)
    assert site().status == 200


def test_an_http_library_keeps_a_connection_and_many_come_at_once(
    cluster: Cluster, client: Any, make_function: MakeFunction
) -> None:
    site = site_of(
        cluster, client, make_function("def handler(event, context):\n    return event['queryStringParameters']['n']\n")
    )
    with urllib3.HTTPConnectionPool(*site.address, maxsize=8, timeout=30, retries=False) as pool:

        def ask(number: int) -> str:
            answer = pool.request("GET", "/", fields={"n": str(number)}, headers={"Host": site.host})
            assert answer.status == 200
            return answer.data.decode()

        assert [ask(number) for number in range(20)] == [str(number) for number in range(20)]
        assert pool.num_connections == 1
        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(ask, range(40))) == [str(number) for number in range(40)]


def test_a_client_that_goes_away_harms_nobody(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    source = (
        "import time\ndef handler(event, context):\n    event['rawPath'] == '/slow' and time.sleep(20)\n    return 'done'\n"
    )
    site = site_of(cluster, client, make_function(source, Timeout=25))

    def leave() -> None:
        with socket.create_connection(site.address, timeout=5) as connection:
            connection.sendall(f"GET /slow HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())

    threads = [threading.Thread(target=leave) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert site("GET", "/fast")[::2] == (200, b"done")


def test_every_path_is_the_functions(cluster: Cluster, client: Any, make_function: MakeFunction) -> None:
    site = site_of(cluster, client, make_function(ECHO))
    for target in ("/_lambdad/health", "/2015-03-31/functions", "//double", "/a/../b", "/%00", "/" + "x" * 4_000):
        assert site("GET", target).json()["rawPath"] == target
