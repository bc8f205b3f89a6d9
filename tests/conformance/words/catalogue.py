"""The words of every service; one that is not here has none of its own."""

from __future__ import annotations

from tests.conformance.words.events import EVENTS
from tests.conformance.words.lambda_ import LAMBDA
from tests.conformance.words.scheduler import SCHEDULER
from tests.conformance.words.sns import SNS
from tests.conformance.words.sqs import SQS
from tests.conformance.words.words import Words

WORDS: dict[str, Words] = {"events": EVENTS, "lambda": LAMBDA, "scheduler": SCHEDULER, "sns": SNS, "sqs": SQS}
"""By their names in botocore."""
