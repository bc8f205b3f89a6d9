"""Delivery policies of topics and subscriptions: what is told of them, and the pauses between tries that they ask for. Pure.

Source: "Amazon SNS message delivery retries" in the SNS developer guide; the forms in which AWS tells them were recorded.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.domain.errors import LambdadError

PLAIN_TEXT = "text/plain; charset=UTF-8"
DELAY_S_MAX = 3_600
RETRIES_MAX = 100
POLICY_CHARACTERS_MAX = 16_384
_BACKOFFS = ("linear", "arithmetic", "geometric", "exponential")
_COUNTS = ("numRetries", "numMaxDelayRetries", "numNoDelayRetries", "numMinDelayRetries")
_DELAYS = ("minDelayTarget", "maxDelayTarget")
_TOPIC_PARTS = ("defaultHealthyRetryPolicy", "disableSubscriptionOverrides", "defaultThrottlePolicy", "defaultRequestPolicy")
_SUBSCRIPTION_PARTS = ("healthyRetryPolicy", "sicklyRetryPolicy", "throttlePolicy", "requestPolicy", "guaranteed")

Policy = dict[str, Any]
DEFAULT_RETRY: Policy = {
    "minDelayTarget": 20,
    "maxDelayTarget": 20,
    "numRetries": 3,
    "numMaxDelayRetries": 0,
    "numNoDelayRetries": 0,
    "numMinDelayRetries": 0,
    "backoffFunction": "linear",
}


class DeliveryPolicyError(LambdadError):
    """The text is no delivery policy; the message says what is wrong with it."""


class Effective(msgspec.Struct, frozen=True):
    """What a subscription to an address is delivered by. pauses_s: before the first retry, the second and so on."""

    pauses_s: tuple[float, ...]
    content_type: str


def read_topic_policy(text: str) -> Policy:
    """A topic's policy as it is told: what was given, null members left out. Raises DeliveryPolicyError."""
    document = _object(text)
    http = document.get("http")
    if not isinstance(http, dict) or len(document) != 1:
        raise DeliveryPolicyError("http is all that a topic's policy has")
    _known(http, _TOPIC_PARTS, "http")
    given = {name: http[name] for name in _TOPIC_PARTS if http.get(name) is not None}
    given.setdefault("disableSubscriptionOverrides", False)
    if not isinstance(given["disableSubscriptionOverrides"], bool):
        raise DeliveryPolicyError("http.disableSubscriptionOverrides must be true or false")
    _check_retry(given.get("defaultHealthyRetryPolicy"), "http.defaultHealthyRetryPolicy")
    _check_throttle(given.get("defaultThrottlePolicy"), "http.defaultThrottlePolicy")
    _check_request(given.get("defaultRequestPolicy"), "http.defaultRequestPolicy")
    return {"http": {name: given[name] for name in _TOPIC_PARTS if name in given}}


def read_subscription_policy(text: str) -> Policy:
    """A subscription's policy as it is told: with null for what was not given. Raises DeliveryPolicyError."""
    document = _object(text)
    _known(document, _SUBSCRIPTION_PARTS, "")
    _check_retry(document.get("healthyRetryPolicy"), "healthyRetryPolicy")
    _check_retry(document.get("sicklyRetryPolicy"), "sicklyRetryPolicy")
    _check_throttle(document.get("throttlePolicy"), "throttlePolicy")
    _check_request(document.get("requestPolicy"), "requestPolicy")
    guaranteed = document.get("guaranteed") or False
    if not isinstance(guaranteed, bool):
        raise DeliveryPolicyError("guaranteed must be true or false")
    return {**{name: document.get(name) for name in _SUBSCRIPTION_PARTS}, "guaranteed": guaranteed}


def effective_of_topic(told: str | None) -> Policy:
    """told: the topic's own policy, None without one."""
    given: Policy = json.loads(told)["http"] if told else {}
    found: Policy = {
        "defaultHealthyRetryPolicy": {**DEFAULT_RETRY, **(given.get("defaultHealthyRetryPolicy") or {})},
        "disableSubscriptionOverrides": given.get("disableSubscriptionOverrides", False),
    }
    if "defaultThrottlePolicy" in given:
        found["defaultThrottlePolicy"] = given["defaultThrottlePolicy"]
    found["defaultRequestPolicy"] = given.get("defaultRequestPolicy") or {"headerContentType": PLAIN_TEXT}
    return {"http": found}


def effective_of_subscription(told: str | None, topic_told: str | None) -> Policy:
    """told, topic_told: the subscription's own policy and its topic's, None without one."""
    topic = effective_of_topic(topic_told)["http"]
    given: Policy = json.loads(told) if told and not topic["disableSubscriptionOverrides"] else {}
    retry = given.get("healthyRetryPolicy")
    return {
        "healthyRetryPolicy": topic["defaultHealthyRetryPolicy"] if retry is None else {**DEFAULT_RETRY, **retry},
        "sicklyRetryPolicy": given.get("sicklyRetryPolicy"),
        "throttlePolicy": given.get("throttlePolicy") or topic.get("defaultThrottlePolicy"),
        "requestPolicy": given.get("requestPolicy") or topic["defaultRequestPolicy"],
        "guaranteed": given.get("guaranteed", False),
    }


def effective(told: str | None, topic_told: str | None) -> Effective:
    policy = effective_of_subscription(told, topic_told)
    request = policy["requestPolicy"] or {}
    return Effective(pauses_s(policy["healthyRetryPolicy"]), request.get("headerContentType") or PLAIN_TEXT)


def pauses_s(retry: Mapping[str, Any]) -> tuple[float, ...]:
    """AWS's four phases: at once, at the shortest delay, growing, at the longest; numRetries in all."""
    low, high = float(retry["minDelayTarget"]), float(retry["maxDelayTarget"])
    phases = [
        *itertools.repeat(0.0, retry["numNoDelayRetries"]),
        *itertools.repeat(low, retry["numMinDelayRetries"]),
    ]
    longest = [high] * retry["numMaxDelayRetries"]
    growing = max(0, retry["numRetries"] - len(phases) - len(longest))
    phases += [_grown(retry["backoffFunction"], low, high, step, growing) for step in range(1, growing + 1)]
    return tuple([*phases, *longest][: retry["numRetries"]])


def _grown(function: str, low: float, high: float, step: int, steps: int) -> float:
    """From the shortest delay to the longest: evenly, in growing steps, or by a factor."""
    if steps <= 1 or high <= low:
        return low
    share = (step - 1) / (steps - 1)
    if function == "linear":
        return low + (high - low) * share
    if function == "arithmetic":
        return low + (high - low) * share * (1 + share) / 2
    return float(low * (high / low) ** (share if function == "exponential" else share**2))


def _object(text: str) -> Policy:
    try:
        if len(text) > POLICY_CHARACTERS_MAX:
            raise ValueError("too long")
        document = msgspec.json.decode(text.encode())
    except (ValueError, RecursionError) as error:
        raise DeliveryPolicyError("failed to parse JSON.") from error
    if not isinstance(document, dict):
        raise DeliveryPolicyError("failed to parse JSON.")
    return document


def _known(document: Policy, names: tuple[str, ...], where: str) -> None:
    for name in document:
        if name not in names:
            raise DeliveryPolicyError(f"{where + '.' if where else ''}{name} is no part of a delivery policy")


def _check_retry(retry: object, where: str) -> None:
    if retry is None:
        return
    if not isinstance(retry, dict):
        raise DeliveryPolicyError(f"{where} must be an object")
    _known(retry, (*_DELAYS, *_COUNTS, "backoffFunction"), where)
    for name in _COUNTS:
        _check_number(retry.get(name), f"{where}.{name}", 0, RETRIES_MAX)
    for name in _DELAYS:
        _check_number(retry.get(name), f"{where}.{name}", 1, DELAY_S_MAX)
    filled = {**DEFAULT_RETRY, **{name: value for name, value in retry.items() if value is not None}}
    if filled["backoffFunction"] not in _BACKOFFS:
        raise DeliveryPolicyError(f"{where}.backoffFunction must be one of {', '.join(_BACKOFFS)}")
    if filled["minDelayTarget"] > filled["maxDelayTarget"]:
        raise DeliveryPolicyError(f"{where}.maxDelayTarget must be at least minDelayTarget")
    if sum(filled[name] for name in _COUNTS[1:]) > filled["numRetries"]:
        raise DeliveryPolicyError(f"{where}.numRetries must be at least the sum of all phases")
    if None in retry.values():
        raise DeliveryPolicyError(f"{where} must have a value for each of its members")


def _check_throttle(throttle: object, where: str) -> None:
    if throttle is None:
        return
    if not isinstance(throttle, dict):
        raise DeliveryPolicyError(f"{where} must be an object")
    _known(throttle, ("maxReceivesPerSecond",), where)
    _check_number(throttle.get("maxReceivesPerSecond"), f"{where}.maxReceivesPerSecond", 1, 1_000_000_000)


def _check_request(request: object, where: str) -> None:
    if request is None:
        return
    if not isinstance(request, dict):
        raise DeliveryPolicyError(f"{where} must be an object")
    _known(request, ("headerContentType",), where)
    kind = request.get("headerContentType")
    if kind is not None and (not isinstance(kind, str) or not kind.isprintable() or not kind.isascii() or len(kind) > 256):
        raise DeliveryPolicyError(f"{where}.headerContentType must be a media type")


def _check_number(value: object, where: str, least: int, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise DeliveryPolicyError(f"{where} must be a number from {least} to {most}")
