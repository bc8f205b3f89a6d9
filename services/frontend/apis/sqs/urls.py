"""Where queues are: their names, URLs and ARNs."""

from __future__ import annotations

import functools
import re
from urllib.parse import unquote, urlsplit

import msgspec

from services.frontend.apis.sqs.errors import InvalidAddress, MissingRequiredParameterException, QueueDoesNotExist
from services.frontend.endpoint.api import Call
from shared.aws.protocols.protocol import Params
from shared.domain.arns import PARTITION, Home

FIFO_SUFFIX = ".fifo"
NAME = re.compile(r"[A-Za-z0-9_-]{1,80}|[A-Za-z0-9_-]{1,75}\.fifo")
URL_CHARACTERS_MAX = 2_048
URLS_REMEMBERED_MAX = 4_096
_ARN = re.compile(r"arn:[a-z0-9-]+:sqs:([a-z0-9-]+):(\d{12}):([A-Za-z0-9_.-]{1,80})")
_PATH = re.compile(r"(?:/.*)?/(\d{12})/([^/]+)/?")


class QueueArn(msgspec.Struct, frozen=True):
    home: Home
    name: str

    @property
    def is_fifo(self) -> bool:
        return self.name.endswith(FIFO_SUFFIX)


def parse_arn(text: str) -> QueueArn | None:
    found = _ARN.fullmatch(text)
    return None if found is None else QueueArn(Home(found[2], found[1]), found[3])


def arn_of(home: Home, name: str) -> str:
    return f"arn:{PARTITION}:sqs:{home.region}:{home.account_id}:{name}"


def url_of(call: Call, name: str) -> str:
    """As whoever asks reaches the endpoint."""
    return f"{call.endpoint or 'http://localhost'}/{call.home.account_id}/{name}"


def is_queue_path(path: bytes) -> bool:
    """Whether a request was sent to a queue's URL."""
    return _PATH.fullmatch(path.decode("latin-1")) is not None


def queue_named(call: Call, params: Params) -> str:
    """The name of the queue that a request is about: of its QueueUrl, whatever the host and port in there, or of its own path.

    Raises MissingRequiredParameterException, InvalidAddress, QueueDoesNotExist.
    """
    url = params.get("QueueUrl")
    if url:
        return _named(call, url)
    path = call.path.decode("latin-1")
    if path in ("", "/"):
        raise MissingRequiredParameterException("QueueUrl")
    return _named(call, path)


def _named(call: Call, url: str) -> str:
    account_id, name = _read(url) if len(url) <= URL_CHARACTERS_MAX else (None, "")
    if not name:
        raise InvalidAddress(url)
    if (account_id is not None and account_id != call.home.account_id) or NAME.fullmatch(name) is None:
        raise QueueDoesNotExist
    return name


@functools.lru_cache(maxsize=URLS_REMEMBERED_MAX)
def _read(url: str) -> tuple[str | None, str]:
    """(account id, name) of a URL, of its path, or of a name alone; an empty name for what is none of these."""
    if NAME.fullmatch(url) is not None:
        return None, url
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    found = _PATH.fullmatch(path)
    return (None, "") if found is None else (found[1], unquote(found[2]))
