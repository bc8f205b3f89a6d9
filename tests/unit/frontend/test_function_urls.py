"""What is pure about serving function URLs: events, answers, cross-origin headers, who may call."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.frontend.edge.identity import NOBODY, Caller, root_caller, session_caller
from services.frontend.urls import cors, replies
from services.frontend.urls.callers import HEADER_VALUE_CHARACTERS_MAX, Circumstances, refusal
from services.frontend.urls.events import UrlRequest, event_of
from services.frontend.urls.replies import MalformedReplyError, UrlReply, mapped, unmapped
from shared.domain.function_urls import Cors, FunctionUrl
from shared.domain.policy_evaluation import parse_statement
from shared.registry.function_urls import ServedUrl

ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
URL_ID = "k" * 32
HOST = f"{URL_ID}.lambda-url.us-east-1.localhost"


def event(caller: Caller = NOBODY, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "method": "POST",
        "raw_path": "/",
        "raw_query": "",
        "headers": [("host", f"{HOST}:9000"), ("user-agent", "test/1")],
        "body": b"",
        "http_version": "1.1",
        "source_ip": "127.0.0.1",
        "port": 9000,
        "host_name": HOST,
        "url_id": URL_ID,
        "request_id": "c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90",
        "trace": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "now_s": 1_795_346_907.19,
    }
    found: dict[str, Any] = json.loads(event_of(UrlRequest(**values | changes), caller))
    return found


def test_an_event_has_what_format_2_0_has_and_no_more() -> None:
    assert event() == {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {
            "host": f"{HOST}:9000",
            "user-agent": "test/1",
            "x-forwarded-for": "127.0.0.1",
            "x-forwarded-port": "9000",
            "x-forwarded-proto": "http",
            "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": URL_ID,
            "domainName": HOST,
            "domainPrefix": URL_ID,
            "http": {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test/1"},
            "requestId": "c6af9ac6-7b61-4e6b-8d0a-3f1c2b5d7e90",
            "routeKey": "$default",
            "stage": "$default",
            "time": "22/Nov/2026:11:28:27 +0000",
            "timeEpoch": 1_795_346_907_190,
        },
        "isBase64Encoded": False,
    }


def test_paths_stay_as_they_were_sent_and_query_values_are_decoded_and_joined() -> None:
    found = event(
        raw_path="/pa2%Fth/%41/1", raw_query="q=query&multiQuery=foo&multiQuery=%2Fbar&flag&space=a+b%20c&%C3%BC=%ff&&=x"
    )
    assert found["rawPath"] == found["requestContext"]["http"]["path"] == "/pa2%Fth/%41/1"
    assert found["rawQueryString"] == "q=query&multiQuery=foo&multiQuery=%2Fbar&flag&space=a+b%20c&%C3%BC=%ff&&=x"
    assert found["queryStringParameters"] == {
        "q": "query",
        "multiQuery": "foo,/bar",
        "flag": "",
        "space": "a b c",
        "ü": "\ufffd",
        "": "x",
    }


def test_headers_are_joined_and_cookies_are_a_list_of_their_own() -> None:
    found = event(
        headers=[
            ("x-a", "1"),
            ("cookie", "a=1; b=2"),
            ("x-a", "2"),
            ("cookie", "c=3;"),
            ("connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("x-forwarded-for", "10.0.0.1"),
            ("authorization", "Basic x"),
        ]
    )
    assert found["cookies"] == ["a=1", "b=2", "c=3"]
    assert found["headers"]["x-a"] == "1,2"
    assert found["headers"]["x-forwarded-for"] == "10.0.0.1, 127.0.0.1"
    assert found["headers"]["authorization"] == "Basic x"
    assert not {"cookie", "connection", "transfer-encoding"} & found["headers"].keys()
    assert "userAgent" not in found["requestContext"]["http"]


@pytest.mark.parametrize(
    ("content_type", "text"),
    [
        ("text/plain", True),
        ("text/html; charset=utf-8", True),
        ("application/json", True),
        ("Application/JSON;charset=UTF-8", True),
        ("application/xml", True),
        ("application/javascript", True),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
        ("application/octet-stream", False),
        ("application/jsonx", False),
        ("textual/x", False),
        (None, False),
    ],
)
def test_only_what_its_type_calls_text_stays_text(content_type: str | None, text: bool) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    found = event(headers=headers, body="ü{}".encode())
    assert found["isBase64Encoded"] is not text
    assert found["body"] == ("ü{}" if text else base64.b64encode("ü{}".encode()).decode())


def test_bytes_that_are_no_text_come_as_base64_whatever_they_are_called() -> None:
    found = event(headers=[("content-type", "application/json")], body=b"\xff\x00")
    assert (found["body"], found["isBase64Encoded"]) == ("/wA=", True)


def test_a_signed_event_says_who_signed_and_hides_the_signature() -> None:
    found = event(root_caller(ACCOUNT, "AKID"), headers=[("authorization", "AWS4-HMAC-SHA256 ..."), ("x-amz-date", "d")])
    assert found["requestContext"]["accountId"] == ACCOUNT
    assert found["requestContext"]["authorizer"] == {
        "iam": {
            "accessKey": "AKID",
            "accountId": ACCOUNT,
            "callerId": ACCOUNT,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": f"arn:aws:iam::{ACCOUNT}:root",
            "userId": ACCOUNT,
        }
    }
    assert "authorization" not in found["headers"]
    assert found["headers"]["x-amz-date"] == "d"


@given(st.binary(max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_any_request_makes_an_event(body: bytes, query: str, value: str) -> None:
    found = event(body=body, raw_query=query, headers=[("x", value), ("content-type", value)])
    again = base64.b64decode(found["body"]) if found["isBase64Encoded"] else found.get("body", "").encode()
    assert again == body


def reply(value: Any) -> UrlReply:
    return mapped(msgspec.json.encode(value))


JSON = (b"content-type", b"application/json")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("hi", UrlReply(200, [JSON], b"hi")),
        ({"a": 1}, UrlReply(200, [JSON], b'{"a":1}')),
        ([1, 2], UrlReply(200, [JSON], b"[1,2]")),
        (None, UrlReply(200, [JSON], b"null")),
        (17, UrlReply(200, [JSON], b"17")),
        ({"body": "x"}, UrlReply(200, [JSON], b'{"body":"x"}')),
        ({"statusCode": None, "a": 1}, UrlReply(200, [JSON], b'{"statusCode":null,"a":1}')),
        ({"statusCode": 201}, UrlReply(201, [JSON], b"")),
        ({"statusCode": "418", "body": "i'm a teapot"}, UrlReply(418, [JSON], b"i'm a teapot")),
        ({"statusCode": 200.0, "body": {"a": [1]}}, UrlReply(200, [JSON], b'{"a":[1]}')),
        ({"statusCode": 200, "body": "aGk=", "isBase64Encoded": True}, UrlReply(200, [JSON], b"hi")),
        ({"statusCode": 200, "body": "aGk=", "isBase64Encoded": False}, UrlReply(200, [JSON], b"aGk=")),
        (
            {"statusCode": 200, "headers": {"Content-Type": "text/html", "X-N": 5, "X-B": True, "X-0": None}, "body": "ü"},
            UrlReply(200, [(b"content-type", b"text/html"), (b"x-n", b"5"), (b"x-b", b"true")], "ü".encode()),
        ),
        (
            {"statusCode": 200, "cookies": ["a=1", "b=2; Path=/"]},
            UrlReply(200, [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2; Path=/"), JSON], b""),
        ),
        ({"statusCode": 204, "body": "not sent"}, UrlReply(204, [JSON], b"")),
        (
            {"statusCode": 401, "headers": {"WWW-Authenticate": "Basic", "Connection": "close", "Content-Length": "99"}},
            UrlReply(
                401,
                [
                    (b"x-amzn-remapped-www-authenticate", b"Basic"),
                    (b"x-amzn-remapped-connection", b"close"),
                    (b"x-amzn-remapped-content-length", b"99"),
                    JSON,
                ],
                b"",
            ),
        ),
        (
            {"statusCode": 200, "headers": {"Transfer-Encoding": "chunked", "X-Amzn-RequestId": "mine"}},
            UrlReply(200, [JSON], b""),
        ),
    ],
    ids=repr,
)
def test_answers_are_inferred_as_on_aws(value: Any, expected: UrlReply) -> None:
    assert reply(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": "abc"},
        {"statusCode": 99},
        {"statusCode": 101},
        {"statusCode": 600},
        {"statusCode": True},
        {"statusCode": 200.5},
        {"statusCode": [200]},
        {"statusCode": "٢٠٠"},
        {"statusCode": 200, "headers": ["a"]},
        {"statusCode": 200, "headers": {"a b": "c"}},
        {"statusCode": 200, "headers": {"": "c"}},
        {"statusCode": 200, "headers": {"a": "b\r\nset-cookie: c"}},
        {"statusCode": 200, "headers": {"a\r\nb": "c"}},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "headers": {"a": "b" * 70_000}},
        {"statusCode": 200, "cookies": "a=1"},
        {"statusCode": 200, "cookies": [1]},
        {"statusCode": 200, "cookies": ["a\nb"]},
        {"statusCode": 200, "isBase64Encoded": "true", "body": "aGk="},
        {"statusCode": 200, "isBase64Encoded": True, "body": "not base64"},
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_refused(value: Any) -> None:
    with pytest.raises(MalformedReplyError):
        reply(value)


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_not_json_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedReplyError):
        mapped(payload)


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b'[1, 2, {"a" : [ ]}]', b'[1,2,{"a":[]}]'),
        (b'{"a": 1.0, "b" : "x  y",\n"c": 1180591620717411303424}', b'{"a":1.0,"b":"x  y","c":1180591620717411303424}'),
        (b' "a b" ', b"a b"),
        (b"  null\n", b"null"),
        ('{"\\u00fc": "ü"}'.encode(), '{"ü":"ü"}'.encode()),
    ],
)
def test_what_says_no_status_is_written_anew_without_blanks(payload: bytes, body: bytes) -> None:
    assert mapped(payload) == UrlReply(200, [JSON], body)


HEADER_TEXT = st.text(max_size=12)


@given(
    st.fixed_dictionaries(
        {"statusCode": st.integers(190, 610)},
        optional={
            "headers": st.dictionaries(HEADER_TEXT, HEADER_TEXT | st.integers() | st.none(), max_size=4),
            "cookies": st.lists(HEADER_TEXT, max_size=3),
            "body": st.text() | st.integers() | st.none(),
            "isBase64Encoded": st.booleans(),
        },
    )
)
def test_no_answer_can_break_out_of_its_headers(value: dict[str, Any]) -> None:
    try:
        found = reply(value)
    except MalformedReplyError:
        return
    for name, text in found.headers:
        assert not set(name + text) & set(b"\r\n\x00")
        assert name == name.lower()
    assert not {name for name, _ in found.headers} & {b"content-length", b"transfer-encoding", b"connection", b"date"}


def test_without_a_mapping_the_document_is_the_body() -> None:
    assert unmapped(b'{"statusCode":418}') == UrlReply(200, [JSON], b'{"statusCode":418}')
    assert replies.INTERNAL_SERVER_ERROR.body == b"Internal Server Error"


PAGE = "https://page.example"


def preflight(settings: Cors, **headers: str) -> dict[bytes, bytes]:
    asked = {"origin": PAGE, "access-control-request-method": "PUT"}
    asked |= {name.replace("_", "-"): value for name, value in headers.items()}
    assert cors.is_preflight("OPTIONS", asked)
    return dict(cors.preflight_headers(settings, asked))


def test_a_preflight_is_an_options_request_that_asks() -> None:
    assert not cors.is_preflight("OPTIONS", {"origin": PAGE})
    assert not cors.is_preflight("OPTIONS", {"access-control-request-method": "GET"})
    assert not cors.is_preflight("GET", {"origin": PAGE, "access-control-request-method": "GET"})


def test_a_preflight_is_told_what_is_allowed() -> None:
    settings = Cors(
        allow_origins=("https://other.example", PAGE),
        allow_methods=("PUT", "GET"),
        allow_headers=("x-a", "x-b"),
        expose_headers=("x-c",),
        allow_credentials=True,
        max_age=300,
    )
    assert preflight(settings, access_control_request_headers="x-a") == {
        b"access-control-allow-origin": PAGE.encode(),
        b"vary": b"Origin",
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"PUT,GET",
        b"access-control-allow-headers": b"x-a,x-b",
        b"access-control-max-age": b"300",
    }
    assert preflight(settings, origin="https://evil.example") == {}
    assert preflight(settings, access_control_request_method="DELETE") == {}


def test_wildcards_say_so_unless_credentials_come_along() -> None:
    settings = Cors(allow_origins=("*",), allow_methods=("*",), allow_headers=("*",))
    assert preflight(settings, access_control_request_headers="x-a,x-b") == {
        b"access-control-allow-origin": b"*",
        b"access-control-allow-methods": b"*",
        b"access-control-allow-headers": b"*",
    }
    settings = msgspec.structs.replace(settings, allow_credentials=True)
    assert preflight(settings, access_control_request_headers="x-a,x-b") == {
        b"access-control-allow-origin": PAGE.encode(),
        b"vary": b"Origin",
        b"access-control-allow-credentials": b"true",
        b"access-control-allow-methods": b"PUT",
        b"access-control-allow-headers": b"x-a,x-b",
    }


def test_other_answers_name_the_origin_and_what_may_be_read() -> None:
    settings = Cors(allow_origins=(PAGE,), allow_methods=("GET",), expose_headers=("x-c", "x-d"), max_age=5)
    assert dict(cors.response_headers(settings, {"origin": PAGE})) == {
        b"access-control-allow-origin": PAGE.encode(),
        b"vary": b"Origin",
        b"access-control-expose-headers": b"x-c,x-d",
    }
    assert cors.response_headers(settings, {"origin": "https://evil.example"}) == []
    assert cors.response_headers(settings, {}) == []


NOW = Circumstances(source_ip="10.1.2.3", user_agent="test/1", referer="", now_s=1_795_346_907)
PUBLIC = (
    {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:InvokeFunctionUrl",
        "Resource": ARN,
        "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
    },
    {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
        "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    },
)
ROOT = root_caller(ACCOUNT, "AKID")
ROLE = session_caller(ACCOUNT, "ASIA", f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/f")


def served(*statements: dict[str, Any], auth_type: str = "NONE", qualifier: str = "$LATEST") -> ServedUrl:
    url = FunctionUrl("id", qualifier, URL_ID, auth_type, "BUFFERED", None, 0, 0)
    return ServedUrl(url, "us-east-1", "f", tuple(parse_statement(one) for one in statements))


def may(found: ServedUrl, caller: Caller, circumstances: Circumstances = NOW) -> bool:
    return refusal(found, caller, circumstances, owner=ACCOUNT) is None


def deny(**condition: dict[str, str]) -> dict[str, Any]:
    return {"Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": f"{ARN}*", "Condition": condition}


def test_the_public_needs_both_permissions() -> None:
    assert may(served(*PUBLIC), NOBODY)
    assert not may(served(), NOBODY)
    assert not may(served(PUBLIC[0]), NOBODY)
    assert not may(served(PUBLIC[1]), NOBODY)
    assert not may(served(*PUBLIC, deny(IpAddress={"aws:SourceIp": "10.0.0.0/8"})), NOBODY)
    assert may(served(*PUBLIC, deny(IpAddress={"aws:SourceIp": "11.0.0.0/8"})), NOBODY)


def test_permissions_are_of_the_auth_type_and_of_the_alias_that_they_name() -> None:
    assert not may(served(*PUBLIC, auth_type="AWS_IAM"), NOBODY)
    assert not may(served(*PUBLIC, qualifier="live"), NOBODY)
    of_alias = [{**one, "Resource": f"{ARN}:live"} for one in PUBLIC]
    assert may(served(*of_alias, qualifier="live"), NOBODY)
    assert not may(served(*of_alias), NOBODY)
    of_all = [{**one, "Resource": f"{ARN}:*"} for one in PUBLIC]
    assert may(served(*of_all, qualifier="live"), NOBODY)


@pytest.mark.parametrize("caller", [ROOT, ROLE], ids=["root", "role"])
def test_the_owners_callers_need_no_policy_but_obey_one_that_denies(caller: Caller) -> None:
    assert may(served(auth_type="AWS_IAM"), caller)
    assert not may(served(deny(StringEquals={"aws:PrincipalAccount": ACCOUNT}), auth_type="AWS_IAM"), caller)
    assert may(served(deny(StringNotEquals={"aws:PrincipalAccount": ACCOUNT}), auth_type="AWS_IAM"), caller)


def test_a_role_is_known_by_its_own_arn_and_by_its_sessions() -> None:
    for arn in (f"arn:aws:iam::{ACCOUNT}:role/worker", f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/f"):
        against = {**deny(), "Principal": {"AWS": arn}}
        assert not may(served(against, auth_type="AWS_IAM"), ROLE)
        assert may(served(against, auth_type="AWS_IAM"), ROOT)
    by_condition = deny(ArnEquals={"aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/worker"})
    assert not may(served(by_condition, auth_type="AWS_IAM"), ROLE)
    assert ROLE.authorizer()["iam"]["userArn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/f"
    assert ROLE.user_id.endswith(":f")


def test_what_comes_from_anybody_is_compared_up_to_a_bound() -> None:
    long = msgspec.structs.replace(NOW, user_agent="a" * (HEADER_VALUE_CHARACTERS_MAX + 1))
    against = deny(StringEquals={"aws:UserAgent": "a" * HEADER_VALUE_CHARACTERS_MAX})
    assert not may(served(*PUBLIC, against), NOBODY, long)
