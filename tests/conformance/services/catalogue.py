"""The services whose recorded entries are run: add one once its API is served."""

from __future__ import annotations

from tests.conformance.services.eventbridge.service import EventBridge
from tests.conformance.services.events_of_lambda import LambdaEvents
from tests.conformance.services.lambda_.service import Lambda
from tests.conformance.services.scheduler import Scheduler
from tests.conformance.services.service import Service
from tests.conformance.services.sns import Sns
from tests.conformance.services.sqs import Sqs
from tests.conformance.services.sts import Sts

CATALOGUE: tuple[Service, ...] = (Lambda(), LambdaEvents(), EventBridge(), Scheduler(), Sns(), Sqs(), Sts())
