"""What AWS was seen to answer: every recorded behaviour of our operations that can be read mechanically."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from services.frontend.control import OPERATIONS
from shared.aws.error_rendering import render
from shared.aws.serialization import serialize_reply
from shared.aws.service_model import load_service_model
from shared.aws.validation import validate
from shared.domain.errors import ApiError
from tests.integration.control.facts import Fact, Values, script_of, understood
from tests.integration.registry.support import Control

MODEL = load_service_model()
FACTS = understood()
RUN_MIN = 258
"""So that a fact cannot quietly stop being run."""
WHILE_IN_PROGRESS = {
    "get-function.update-in-progress",
    "get-function.version-pending",
    "get-function.qualifier-latest",
    "update-function-code.update-in-progress",
    "update-function-configuration.update-in-progress",
}
LISTS = {"ListFunctions": "Functions", "ListAliases": "Aliases"}
UNKNOWN_KEYS = {"ValidationException", "RequestEntityTooLargeException"}
"""Only code, status and text were recorded of these."""


def test_enough_facts_are_understood() -> None:
    assert len(FACTS) >= RUN_MIN


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["id"])
async def test_the_answer_is_awss(control: Control, fact: Fact) -> None:
    async with control.registry.write() as connection:
        await connection.execute(text("UPDATE functions SET reserved_concurrency = NULL"))
        await connection.execute(text("DELETE FROM provisioned_concurrency"))
    values = Values(fact)
    script = script_of(fact)
    if not fact.get("error") and fact["call"] != "CreateFunction" and "FunctionName" in fact["request"]:
        script.need_function()
    for number, (operation, request, takes) in enumerate(script.calls):
        last = number == len(script.calls) - 1
        control.context.held = last and fact["id"] in WHILE_IN_PROGRESS
        reply = await control(operation, **values.fill(request))
        for member, placeholder in takes.items():
            values.known[placeholder.strip("<>")] = reply[member]
    status, error, body = await answer(control, fact, values.fill(fact["request"]))
    assert (error, status) == (fact.get("error"), fact["status"])
    if "body" not in fact:
        return
    expected = fact["body"]
    if error in UNKNOWN_KEYS:
        body = {"message": body.get("message") or body.get("Message")}
    if fact["call"] in LISTS and error is None:
        key = LISTS[fact["call"]]
        names = (values.known["fn"], values.known["fn:2"])
        if key == "Functions":
            body[key] = [item for item in body[key] if item["FunctionName"] in names]
    assert values.differences({} if expected is None else expected, body) == []


async def answer(control: Control, fact: Fact, request: dict[str, Any]) -> tuple[int, str | None, dict[str, Any]]:
    """(status, error, body) as they would be on the wire; pages of lists joined where the fact joined them."""
    operation = MODEL.operations[fact["call"]]
    # An empty list in a query string is no parameter at all.
    request = {name: value for name, value in request.items() if name != "TagKeys" or value}
    joined: dict[str, Any] | None = None
    while True:
        try:
            validate(operation, request)
            reply = await OPERATIONS[fact["call"]](control.context, request)
        except ApiError as error:
            rendered = render(error, "request-id")
            return rendered.status, error.code, json.loads(rendered.body)
        response = serialize_reply(operation, reply)
        body = json.loads(response.body) if response.body else {}
        key = LISTS.get(fact["call"])
        if joined is not None and key is not None:
            body[key] = joined[key] + body[key]
        if key is None or "pages joined" not in fact.get("note", "").lower() or "NextMarker" not in body:
            return response.status, None, body
        joined = body
        request = {**request, "Marker": body.pop("NextMarker")}
