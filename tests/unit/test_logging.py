"""What of other people's words gets into the services' log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from shared.telemetry.logging import configure_logging


@pytest.fixture
def root_logger() -> Iterator[None]:
    root, kafka = logging.getLogger(), logging.getLogger("aiokafka.conn")
    before = root.handlers[:], root.level, kafka.filters[:]
    yield
    root.handlers[:], root.level, kafka.filters[:] = before


def test_a_password_that_the_settings_send_plainly_is_no_warning_at_every_start(
    root_logger: None, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("poller", "INFO")
    log = logging.getLogger("aiokafka.conn")
    log.warning("Sending username and password in the clear")
    log.warning("Connection lost")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["Connection lost"]
