"""JSON log lines on stderr: one object a line, with time, level, service, logger and message."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def configure_logging(service: str, level: str) -> None:
    """Send every logger's lines at `level` and above to stderr as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("aiokafka", "uvicorn.error", "uvicorn.access", "asyncio", "alembic", "botocore"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    expect_plain_passwords()


def expect_plain_passwords() -> None:
    logging.getLogger("aiokafka.conn").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Not that passwords cross as they are: whoever named SASL_PLAINTEXT said so, and on loopback it is how it is meant."""
    return "in the clear" not in record.getMessage()
