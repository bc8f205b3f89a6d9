"""Is an event JSON? If not, what AWS says about it."""

from __future__ import annotations

import re

import msgspec

from shared.domain.errors import InvalidRequestContentException

_check = msgspec.json.Decoder(msgspec.Raw).decode
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_TOKEN = re.compile(rb"[A-Za-z0-9_$]+")
_PREFIX = "Could not parse request body into json: Could not parse payload into json: "
_EXPECTED = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
SHOWN_CHARACTERS_MAX = 500


def require_json(payload: bytes) -> None:
    """Raises InvalidRequestContentException. The text has the form of AWS's parser, which names the token and its place."""
    try:
        _check(payload)
        if not payload.isascii():
            payload.decode()
    except msgspec.DecodeError as error:
        raise InvalidRequestContentException(_PREFIX + _explain(payload, str(error))) from error
    except UnicodeDecodeError as error:
        text = f"Invalid UTF-8 start byte 0x{payload[error.start]:x}"
        raise InvalidRequestContentException(_PREFIX + text + _place(payload, error.start)) from error
    except RecursionError as error:
        raise InvalidRequestContentException(_PREFIX + "Document nesting depth exceeds the maximum allowed") from error


def _explain(payload: bytes, reason: str) -> str:
    found = _AT_BYTE.search(reason)
    if found is None:
        return "Unexpected end-of-input" + _place(payload, len(payload))
    at = int(found[1])
    while 0 < at <= len(payload) and payload[at - 1 : at].isalpha():
        at -= 1
    token = _TOKEN.match(payload, at)
    if token is not None and not token[0][:1].isdigit():
        shown = token[0][:SHOWN_CHARACTERS_MAX].decode()
        text = f"Unrecognized token '{shown}': was expecting {_EXPECTED}"
        return text + _place(payload, token.end())
    if at >= len(payload):
        return "Unexpected end-of-input" + _place(payload, at)
    code = payload[at]
    shown = chr(code) if 32 <= code < 127 else "\ufffd"
    return f"Unexpected character ('{shown}' (code {code})): {reason.partition(' (byte')[0]}" + _place(payload, at + 1)


def _place(payload: bytes, at: int) -> str:
    before = payload[:at]
    line = before.count(b"\n") + 1
    column = at - (before.rfind(b"\n") + 1) + 1
    shown = payload[:SHOWN_CHARACTERS_MAX].decode("utf-8", "replace")
    more = f"[truncated {len(payload) - SHOWN_CHARACTERS_MAX} bytes]" if len(payload) > SHOWN_CHARACTERS_MAX else ""
    return f'\n at [Source: (byte[])"{shown}"{more}; line: {line}, column: {column}]'
