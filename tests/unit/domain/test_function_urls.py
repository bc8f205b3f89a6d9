from __future__ import annotations

import re

from shared.domain.function_urls import Cors, UrlHosts, is_ours, new_url_id

SECRET = b"a cluster's secret"


def test_ids_are_32_lower_case_letters_and_digits_and_never_repeat() -> None:
    ids = {new_url_id(SECRET) for _ in range(200)}
    assert len(ids) == 200
    assert all(re.fullmatch(r"[a-z0-9]{32}", one) for one in ids)


def test_an_id_proves_that_this_cluster_gave_it() -> None:
    url_id = new_url_id(SECRET)
    assert is_ours(SECRET, url_id)
    assert not is_ours(b"another's", url_id)
    assert not is_ours(SECRET, "a" * 32)
    for index in range(32):
        other = "a" if url_id[index] != "a" else "b"
        assert not is_ours(SECRET, url_id[:index] + other + url_id[index + 1 :])
    for wrong in ("", "a", url_id + "a", url_id[:-1], "ü" * 32):
        assert not is_ours(SECRET, wrong)


def test_hosts_are_told_by_their_name_alone() -> None:
    hosts = UrlHosts("localhost")
    url_id = "k" * 32
    assert hosts.url(url_id, "us-east-1", 9000) == f"http://{url_id}.lambda-url.us-east-1.localhost:9000/"
    assert hosts.match(f"{url_id}.lambda-url.us-east-1.localhost".encode()) == (url_id, "us-east-1")
    assert hosts.match(f"{url_id}.lambda-url.us-east-1.localhost:9000".encode()) == (url_id, "us-east-1")
    assert hosts.match(f"{url_id.upper()}.Lambda-URL.us-east-1.LOCALHOST:1".encode()) == (url_id, "us-east-1")
    assert hosts.match(f"{url_id}.lambda-url.eu-west-1.localhost".encode()) == (url_id, "eu-west-1")
    for other in (
        b"localhost:9000",
        b"127.0.0.1",
        b"",
        b"lambda-url.us-east-1.localhost",
        b".lambda-url.us-east-1.localhost",
        b"a.b.lambda-url.us-east-1.localhost",
        b"k.lambda-url.us-east-1.localhost.evil.example",
        b"k.lambda-url.us-east-1.localhostx",
        b"k.lambda-url.us-east-1.localhost:x",
        b"k.lambda-url.us-east-1xlocalhost",
    ):
        assert hosts.match(other) is None, other


def test_a_dot_of_the_domain_is_a_dot() -> None:
    hosts = UrlHosts("lambda.example")
    assert hosts.match(b"k.lambda-url.us-east-1.lambda.example") == ("k", "us-east-1")
    assert hosts.match(b"k.lambda-url.us-east-1.lambdaxexample") is None


def test_cors_shows_what_was_set_and_nothing_else() -> None:
    assert Cors(allow_origins=("*",), max_age=0).members() == {"AllowOrigins": ("*",), "MaxAge": 0}
    assert Cors(allow_credentials=False, expose_headers=()).members() == {"AllowCredentials": False, "ExposeHeaders": ()}
