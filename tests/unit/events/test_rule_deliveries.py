"""Which delivery an event becomes for a target of a rule."""

from __future__ import annotations

import json
from typing import Any

from services.router.events.making import delivery_of
from services.router.events.routes import Aim, document_of
from shared.domain.arns import Home
from shared.domain.event_buses import Rule, RuleState, RuleTarget
from shared.domain.input_transformers import transform_of
from shared.events.bus_events import BusEvent
from shared.events.records import ApiDestinationParameters, Delivery

PLACE = "us-east-1:000000000000"
DESTINATION = f"arn:aws:events:{PLACE}:api-destination/d/00000000-0000-4000-8000-000000000000"
EVENT = BusEvent(
    "id", "000000000000", "us-east-1", "default", "shop", "order", b'{"id":"a/7","n":[1,2],"at":{"x":null}}', "000000000000",
    "us-east-1", 1_657_720_081_000, 1_657_720_082_000,
)  # fmt: skip
RULE = Rule(Home("000000000000", "us-east-1"), "default", "r", "{}", None, RuleState.ENABLED, None, None, [])


def delivered(arn: str, **settings: Any) -> Delivery:
    aim = Aim(RULE, RuleTarget("r", "t", arn, settings), transform_of(settings))
    return delivery_of(EVENT, document_of(EVENT), aim, 1)


def test_a_request_takes_what_the_event_has_at_its_paths() -> None:
    http = {
        "PathParameterValues": ["$.detail.id", "fixed", "$.detail.gone"],
        "HeaderParameters": {"X-N": "$.detail.n", "X-Money": "$5"},
        "QueryStringParameters": {"at": "$.detail.at", "odd": "$.["},
    }
    assert delivered(DESTINATION, HttpParameters=http).parameters == ApiDestinationParameters(
        ("a/7", "fixed", ""), (("X-N", "[1,2]"), ("X-Money", "$5")), (("at", '{"x":null}'), ("odd", "$.["))
    )
    assert delivered(DESTINATION).parameters == ApiDestinationParameters()


def test_the_event_that_a_template_names_has_no_detail_and_another_name_for_its_type() -> None:
    template = '{"short": <aws.events.event>, "whole": <aws.events.event.json>, "by": "<aws.events.rule-name>"}'
    found = json.loads(delivered(f"arn:aws:sqs:{PLACE}:q", InputTransformer={"InputTemplate": template}).payload)
    envelope = {
        "version": "0",
        "id": "id",
        "source": "shop",
        "account": "000000000000",
        "time": "2022-07-13T13:48:01Z",
        "region": "us-east-1",
        "resources": [],
    }
    assert found["short"] == {**envelope, "detailType": "order"}
    assert found["whole"] == {**envelope, "detail-type": "order", "detail": json.loads(EVENT.detail)}
    assert found["by"] == "r"
