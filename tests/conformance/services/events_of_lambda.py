"""Asynchronous events of Lambda: what its API answers is in lambda_, these are behaviours."""

from __future__ import annotations

from tests.conformance.services.lambda_.service import Lambda


class LambdaEvents(Lambda):
    name, title = "events", "Asynchronous events of Lambda"
