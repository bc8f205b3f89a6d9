"""Function URLs in front of a recorder: which requests reach a function, and what becomes of those that do not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from services.frontend.app import FrontendApp, NoBrowsers
from services.frontend.edge.bodies import BodyReader
from services.frontend.edge.homes import Homes
from services.frontend.edge.http_protocol import EXCHANGE
from services.frontend.edge.identity import Callers
from services.frontend.edge.request_ids import RequestIds
from services.frontend.edge.signed_requests import RequestReader
from services.frontend.invoke.metrics import InvokeMetrics
from services.frontend.native import NativeApp
from services.frontend.urls.routes import FORBIDDEN, FunctionUrlApp
from shared.aws.signatures import session_tokens
from shared.aws.signatures.sigv4 import Verifier
from shared.dispatch.client.run import OnEnd
from shared.domain.arns import Home
from shared.domain.errors import (
    InvocationLostError,
    NoCapacityError,
    ResourceNotFoundException,
    TooManyRequestsException,
)
from shared.domain.function_urls import Cors, FunctionUrl, UrlHosts, new_url_id
from shared.domain.invocations import Invocation, InvocationResult
from shared.domain.limits import SYNC_PAYLOAD_BYTES_MAX
from shared.domain.policy_evaluation import parse_statement
from shared.registry.function_urls import ServedUrl
from shared.telemetry.health import Health
from tests.support import PATIENCE_S

SECRET = b"a cluster's secret"
ACCOUNT, REGION, KEY, KEY_SECRET = "000000000000", "us-east-1", "AKIDEXAMPLE", "a-secret"
ELSEWHERE = "eu-west-1"
HOSTS = UrlHosts("localhost")
URL_ID = new_url_id(SECRET)
HOST = HOSTS.name(URL_ID, REGION) + ":9000"
BY_PATH = f"/_lambdad/urls/{URL_ID}"
EVERYBODY = {"Effect": "Allow", "Principal": "*", "Action": "lambda:*", "Resource": "*"}


class Answer(NamedTuple):
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for found, value in self.headers if found == name), None)

    @property
    def message(self) -> Any:
        return json.loads(self.body)["Message"]


class Site:
    """One URL and what is behind it; the rest of the frontend answers 299."""

    def prove(self) -> None:
        """As the connection's exchange: a signature was valid."""
        self.is_proven = True

    def __init__(self, *, verified: bool = True) -> None:
        self.served: ServedUrl | None = ServedUrl(
            FunctionUrl("id", "$LATEST", URL_ID, "NONE", "BUFFERED", None, 0, 0), REGION, "f", (parse_statement(EVERYBODY),)
        )
        self.asked: list[str] = []
        self.is_proven = False
        self.events: list[dict[str, Any]] = []
        self.invoked: list[tuple[str, str | None]] = []
        self.outcome: InvocationResult | Exception = InvocationResult(b'"ok"', "$LATEST")
        request_ids = RequestIds()
        verifier = Verifier(regions=[REGION, ELSEWHERE], service="lambda", find_secret=self.find_secret) if verified else None
        urls = FunctionUrlApp(
            urls=self,
            hosts=HOSTS,
            reader=RequestReader(verifier, BodyReader(), Callers(ACCOUNT, SECRET), Homes(Home(ACCOUNT, REGION), (ELSEWHERE,))),
            invoker=self,
            request_ids=request_ids,
            metrics=InvokeMetrics(),
            secret=SECRET,
            account_id=ACCOUNT,
            queue_wait_s=1.0,
        )
        app = FrontendApp(NativeApp(Health("frontend", {})), request_ids, HOSTS)
        app.ready(self.other, self.other, urls)
        self.app: Any = app if verified else NoBrowsers(app, request_ids, HOSTS)

    def set(self, *statements: dict[str, Any], **changes: Any) -> None:
        assert self.served is not None
        found = tuple(parse_statement(one) for one in statements) or self.served.statements
        self.served = ServedUrl(msgspec.structs.replace(self.served.url, **changes), REGION, "f", found)

    def find_secret(self, key: str, token: str | None) -> bytes | None:
        if token is not None:
            return session_tokens.find_secret(SECRET, key, token, 0)
        return KEY_SECRET.encode() if key == KEY else None

    async def find(self, url_id: str) -> ServedUrl | None:
        self.asked.append(url_id)
        return self.served

    async def invoke(
        self, function_arn: str, qualifier: str | None, invocation: Invocation, *, wait_s: float, response: Any = None
    ) -> InvocationResult:
        """A function that does not stream, whether or not its URL would let it."""
        self.invoked.append((function_arn, qualifier))
        self.events.append(json.loads(invocation.payload))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def start(
        self,
        function_arn: str,
        qualifier: str | None,
        invocation: Invocation,
        on_end: OnEnd,
        wait_s: float,
        response: Any = None,
    ) -> Callable[[], None]:
        self.running = asyncio.ensure_future(self.invoke(function_arn, qualifier, invocation, wait_s=wait_s))

        def ended(done: asyncio.Future[InvocationResult]) -> None:
            error = done.exception()
            assert error is None or isinstance(error, Exception)
            on_end(None if error else done.result(), error)

        self.running.add_done_callback(ended)
        return lambda: None

    def cancel_with_task(self) -> None:
        """As the protocol's record of the request."""
        self.cancels = True

    async def other(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def __call__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        host: str = HOST,
    ) -> Answer:
        path, _, query = target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(b"host", host.encode()), *((name.lower().encode(), value.encode()) for name, value in headers)],
            "http_version": "1.1",
            "client": ("127.0.0.1", 5),
            "server": ("127.0.0.1", 9000),
            EXCHANGE: self,
        }
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        async with asyncio.timeout(PATIENCE_S):
            await self.app(scope, receive, send)
        found = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
        return Answer(sent[0]["status"], found, sent[1]["body"])


def signed(
    method: str,
    target: str,
    *,
    body: bytes = b"",
    host: str = HOST,
    credentials: Credentials | None = None,
    region: str = REGION,
) -> list[tuple[str, str]]:
    request = AWSRequest(method, f"http://{host}{target}", {"Host": host}, body)
    SigV4Auth(credentials or Credentials(KEY, KEY_SECRET), "lambda", region).add_auth(request)
    return [(name, value) for name, value in request.headers.items() if name != "Host"]


async def test_every_path_and_method_of_the_host_is_the_functions() -> None:
    site = Site()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PURGE"):
        for path in ("/", "/_lambdad/health", "/2015-03-31/functions/f/invocations", "/2015-03-31/functions"):
            assert (await site(method, path)).status == 200
            assert site.events[-1]["requestContext"]["http"]["method"] == method
            assert site.events[-1]["rawPath"] == path
    assert set(site.invoked) == {(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f", None)}
    assert site.cancels is True
    for host in ("127.0.0.1:9000", "localhost", "function.localhost"):
        assert (await site("POST", "/2015-03-31/functions/f/invocations", host=host)).status == 299


async def test_a_url_is_served_by_path_too_where_its_name_does_not_resolve() -> None:
    site = Site()
    endpoint = "127.0.0.1:9000"
    for target, path in ((f"{BY_PATH}/a%20b//c?x=1", "/a%20b//c"), (f"{BY_PATH}/", "/"), (BY_PATH, "/")):
        assert (await site("POST", target, host=endpoint)).status == 200
        event = site.events[-1]
        assert (event["rawPath"], event["requestContext"]["http"]["path"]) == (path, path)
        assert event["rawQueryString"] == target.partition("?")[2]
        assert (event["requestContext"]["domainName"], event["headers"]["host"]) == (HOSTS.name(URL_ID, REGION), endpoint)
        assert event["requestContext"]["apiId"] == URL_ID
    # A URL's own name has no such path: all of it is the function's.
    assert (await site(target=BY_PATH)).status == 200
    assert site.events[-1]["rawPath"] == BY_PATH
    never = await site(target=f"/_lambdad/urls/{'a' * 32}/", host=endpoint)
    assert (never.status, never.body) == (403, b'{"Message":null}')


async def test_a_signature_for_a_url_by_path_is_for_the_path_that_was_sent() -> None:
    site = Site()
    site.set(auth_type="AWS_IAM")
    endpoint = "127.0.0.1:9000"
    good = signed("GET", f"{BY_PATH}/a?x=1", host=endpoint)
    assert (await site("GET", f"{BY_PATH}/a?x=1", good, host=endpoint)).status == 200
    short = signed("GET", "/a?x=1", host=endpoint)
    answer = await site("GET", f"{BY_PATH}/a?x=1", short, host=endpoint)
    assert (answer.status, answer.header("x-amzn-errortype")) == (403, "InvalidSignatureException")
    assert len(site.events) == 1


async def test_without_signatures_a_url_by_path_is_not_for_pages_whose_name_leads_here() -> None:
    site = Site(verified=False)
    assert (await site(target=f"{BY_PATH}/", host="localhost:9000", headers=[("Origin", "https://a.example")])).status == 200
    assert (await site(target=f"{BY_PATH}/", host="rebound.example:9000")).status == 403


async def test_a_url_by_path_is_starting_as_long_as_the_frontend_is() -> None:
    site = Site()
    site.app = FrontendApp(NativeApp(Health("frontend", {})), RequestIds(), HOSTS)
    for host in (HOST, "127.0.0.1:9000"):
        assert (await site(target=f"{BY_PATH}/", host=host)).status == 503


async def test_an_id_that_was_never_given_is_not_looked_up_and_reads_otherwise_than_one_that_is_gone() -> None:
    site = Site()
    for host in (f"{'a' * 32}.lambda-url.us-east-1.localhost", f"x{HOST}"):
        answer = await site(host=host)
        assert (answer.status, answer.body) == (403, b'{"Message":null}')
        assert answer.header("x-amzn-errortype") == "AccessDeniedException"
        assert answer.header("content-type") == "application/json"
    assert site.asked == []
    site.served = None
    answer = await site()
    assert (answer.status, answer.message) == (403, FORBIDDEN)
    assert answer.header("x-amzn-errortype") == "AccessDeniedException"
    assert site.asked == [URL_ID]


async def test_a_url_is_served_by_the_name_of_its_region_alone_and_signed_for_it() -> None:
    site = Site()
    host = HOST.replace(REGION, ELSEWHERE)
    answer = await site(host=host)
    assert (answer.status, answer.body) == (403, b'{"Message":null}')
    assert site.invoked == []
    assert site.served is not None
    site.served = msgspec.structs.replace(site.served, region=ELSEWHERE)
    assert (await site(host=host)).status == 200
    assert site.invoked == [(f"arn:aws:lambda:{ELSEWHERE}:{ACCOUNT}:function:f", None)]
    assert site.events[0]["requestContext"]["domainName"] == host.partition(":")[0]
    site.served = msgspec.structs.replace(site.served, url=msgspec.structs.replace(site.served.url, auth_type="AWS_IAM"))
    answer = await site(headers=signed("GET", "/", host=host), host=host)
    assert answer.status == 403
    assert b"scoped to a valid region" in answer.body
    assert (await site(headers=signed("GET", "/", host=host, region=ELSEWHERE), host=host)).status == 200


async def test_a_policy_names_the_function_in_its_region() -> None:
    site = Site()
    resource = f"arn:aws:lambda:{ELSEWHERE}:{ACCOUNT}:function:f"
    site.set({**EVERYBODY, "Resource": resource})
    assert (await site()).status == 403
    assert site.served is not None
    site.served = msgspec.structs.replace(site.served, region=ELSEWHERE)
    assert (await site(host=HOST.replace(REGION, ELSEWHERE))).status == 200


async def test_the_policy_is_asked_before_the_body_is_read() -> None:
    site = Site()
    site.set({**EVERYBODY, "Effect": "Deny"})
    answer = await site("POST", body=b"x" * (SYNC_PAYLOAD_BYTES_MAX + 1))
    assert (answer.status, answer.message) == (403, FORBIDDEN)
    assert site.events == []


async def test_the_log_says_which_statement_is_missing_and_callers_do_not_learn_it(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    url = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl", "Resource": "*"}
    for statements, said in (
        ((url,), "no statement of its policy allows lambda:InvokeFunction: add-permission"),
        (({**url, "Action": "lambda:InvokeFunction"},), "no statement of its policy allows lambda:InvokeFunctionUrl:"),
        ((EVERYBODY, {**url, "Effect": "Deny"}), "a statement of its policy denies lambda:InvokeFunctionUrl"),
    ):
        caplog.clear()
        site.set(*statements)
        for _ in range(3):
            answer = await site()
            assert (answer.status, answer.message) == (403, FORBIDDEN)
        (line,) = [record.getMessage() for record in caplog.records if record.name == "lambdad.frontend"]
        assert f"the URL of arn:aws:lambda:{REGION}:{ACCOUNT}:function:f refuses callers: {said}" in line


@pytest.mark.parametrize(
    ("outcome", "status", "error_type"),
    [
        (TooManyRequestsException("ReservedFunctionConcurrentInvocationLimitExceeded"), 429, "TooManyRequestsException"),
        (NoCapacityError("full"), 429, "TooManyRequestsException"),
        (InvocationLostError("lost"), 500, "ServiceException"),
        (ResourceNotFoundException("gone"), 403, "AccessDeniedException"),
        (RuntimeError("nobody expected this"), 500, "ServiceException"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_keeps_a_function_from_running_is_told(outcome: Exception, status: int, error_type: str) -> None:
    site = Site()
    site.set(cors=Cors(allow_origins=("*",)))
    site.outcome = outcome
    answer = await site(headers=[("Origin", "https://a.example")])
    assert (answer.status, answer.header("x-amzn-errortype")) == (status, error_type)
    # A web page may read why it failed, too.
    assert answer.header("access-control-allow-origin") == "*"


async def test_a_functions_failure_says_nothing_of_it() -> None:
    site = Site()
    for outcome in (
        InvocationResult(b'{"errorMessage":"secret"}', "$LATEST", function_error="Unhandled"),
        InvocationResult(b'{"statusCode":"x"}', "$LATEST"),
    ):
        site.outcome = outcome
        answer = await site()
        assert (answer.status, answer.body) == (502, b"Internal Server Error")
        assert answer.header("content-type") == "application/json"


async def test_events_over_six_megabytes_are_refused_whole_or_once_they_are_encoded() -> None:
    site = Site()
    text = ("Request must be smaller than 6291456 bytes for the InvokeFunction operation",)
    for size, content_type in ((SYNC_PAYLOAD_BYTES_MAX + 1, "text/plain"), (SYNC_PAYLOAD_BYTES_MAX * 4 // 5, "image/png")):
        answer = await site("POST", headers=[("Content-Type", content_type)], body=b"x" * size)
        assert (answer.status, answer.message) == (413, *text)
    assert site.events == []
    assert (await site("POST", headers=[("Content-Type", "image/png")], body=b"x" * (4 << 20))).status == 200
    assert len(site.events[-1]["body"]) > 5 << 20


async def test_large_answers_are_mapped_too() -> None:
    site = Site()
    site.outcome = InvocationResult(msgspec.json.encode({"statusCode": 201, "body": "x" * (2 << 20)}), "$LATEST")
    answer = await site()
    assert (answer.status, len(answer.body)) == (201, 2 << 20)


async def test_the_streaming_mode_maps_nothing() -> None:
    site = Site()
    site.set(invoke_mode="RESPONSE_STREAM")
    site.outcome = InvocationResult(b'{"statusCode":418,"body":"x"}', "$LATEST")
    answer = await site()
    assert (answer.status, answer.body) == (200, b'{"statusCode":418,"body":"x"}')


async def test_preflights_run_nothing_and_ask_nobody() -> None:
    site = Site()
    site.set({**EVERYBODY, "Effect": "Deny"}, cors=Cors(allow_origins=("https://a.example",)), auth_type="AWS_IAM")
    asked = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")]
    answer = await site("OPTIONS", headers=asked)
    assert (answer.status, answer.body, answer.header("access-control-allow-origin")) == (200, b"", "https://a.example")
    site.set(EVERYBODY, cors=None, auth_type="NONE")
    assert site.events == []
    assert (await site("OPTIONS", headers=asked)).body == b"ok"
    assert site.events != []


async def test_the_trace_of_the_client_is_kept() -> None:
    site = Site()
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    answer = await site(headers=[("X-Amzn-Trace-Id", trace)])
    assert site.events[-1]["headers"]["x-amzn-trace-id"] == answer.header("x-amzn-trace-id") == trace
    made = (await site()).header("x-amzn-trace-id")
    assert made is not None
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}", made)
    assert answer.header("x-amzn-requestid") == site.events[0]["requestContext"]["requestId"]


async def test_a_signature_is_needed_and_checked() -> None:
    site = Site()
    site.set(auth_type="AWS_IAM")
    answer = await site()
    assert (answer.status, answer.message) == (403, FORBIDDEN)
    good = signed("POST", "/a%20b/c?x=1&y=%2F", body=b"payload")
    assert (await site("POST", "/a%20b/c?x=1&y=%2F", good, b"payload")).status == 200
    iam = site.events[-1]["requestContext"]["authorizer"]["iam"]
    assert (iam["accessKey"], iam["userArn"]) == (KEY, f"arn:aws:iam::{ACCOUNT}:root")
    assert "authorization" not in site.events[-1]["headers"]
    for method, target, body in (
        ("PUT", "/a%20b/c?x=1&y=%2F", b"payload"),
        ("POST", "/other?x=1&y=%2F", b"payload"),
        ("POST", "/a%20b/c?x=2&y=%2F", b"payload"),
        ("POST", "/a%20b/c?x=1&y=%2F", b"other"),
    ):
        answer = await site(method, target, good, body)
        assert (answer.status, answer.header("x-amzn-errortype")) == (403, "InvalidSignatureException")
    stranger = signed("GET", "/", credentials=Credentials("AKIDOTHER", KEY_SECRET))
    answer = await site(headers=stranger)
    assert json.loads(answer.body) == {"message": "The security token included in the request is invalid."}
    assert len(site.events) == 1


async def test_a_signature_for_one_url_is_not_one_for_another() -> None:
    site = Site()
    site.set(auth_type="AWS_IAM")
    other = HOSTS.name(new_url_id(SECRET), REGION)
    assert (await site(headers=signed("GET", "/"), host=other)).status == 403
    assert (await site(headers=signed("GET", "/", host=other), host=other)).status == 200


async def test_a_presigned_url_and_a_functions_own_credentials_work() -> None:
    site = Site()
    site.set(auth_type="AWS_IAM")
    principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/other"
    issued = session_tokens.issue(SECRET, principal, 2_000_000_000)
    credentials = Credentials(issued.access_key_id, issued.secret_access_key, issued.session_token)
    assert (await site(headers=signed("GET", "/", credentials=credentials))).status == 200
    assert site.events[-1]["requestContext"]["authorizer"]["iam"]["userArn"] == principal
    request = AWSRequest("GET", f"http://{HOST}/x", {"Host": HOST})
    SigV4QueryAuth(credentials, "lambda", REGION, expires=60).add_auth(request)
    query = str(request.url).partition("?")[2]
    assert (await site(target=f"/x?{query}")).status == 200
    assert site.events[-1]["requestContext"]["authorizer"]["iam"]["userArn"] == principal
    site.set({**EVERYBODY, "Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/worker"}})
    assert (await site(headers=signed("GET", "/", credentials=credentials))).status == 403
    assert (await site(headers=signed("GET", "/"))).status == 200


async def test_without_signatures_web_pages_reach_public_urls_alone() -> None:
    site = Site(verified=False)
    page = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    assert (await site(headers=page)).status == 200
    site.set(auth_type="AWS_IAM")
    for header in page:
        assert (await site(headers=[header])).status == 403
    assert (await site()).status == 200
    for host in ("localhost:9000", "evil.example"):
        assert (await site("POST", "/2015-03-31/functions/f/invocations", page, host=host)).status == 403
