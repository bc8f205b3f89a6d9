"""As much of DNS as a forwarder needs: who asks for what, and an answer of its own. (RFC 1035, section 4)"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

HEADER_BYTES = 12
A, AAAA, INTERNET = 1, 28, 1
ANSWER_TTL_S = 60
_LABEL_BYTES_MAX = 63
_NAME_BYTES_MAX = 255


@dataclass(frozen=True)
class Question:
    """name: in lower case, without the last dot. end: where it ends in the message."""

    name: str
    kind: int
    end: int


def question_of(message: bytes) -> Question | None:
    """The one question of a query; None when it is no query with one."""
    if len(message) < HEADER_BYTES:
        return None
    _number, flags, questions = struct.unpack_from("!HHH", message)
    if flags & 0xF800 or questions != 1:
        return None
    labels = []
    position = HEADER_BYTES
    while True:
        if position >= len(message) or position - HEADER_BYTES > _NAME_BYTES_MAX:
            return None
        length = message[position]
        position += 1
        if length == 0:
            break
        if length > _LABEL_BYTES_MAX:
            return None
        labels.append(message[position : position + length].decode("latin-1").lower())
        position += length
    if position + 4 > len(message):
        return None
    kind, kind_of_net = struct.unpack_from("!HH", message, position)
    if kind_of_net != INTERNET:
        return None
    return Question(".".join(labels), kind, position + 4)


def answer_with(query: bytes, question: Question, address: str) -> bytes:
    """That the name has this IPv4 address, and no other kind of record."""
    flags = 0x8180 | (query[2] & 1) << 8
    records = int(question.kind == A)
    header = query[:2] + struct.pack("!HHHHH", flags, 1, records, 0, 0)
    answer = header + query[HEADER_BYTES : question.end]
    if records:
        pointer_to_name = 0xC00C
        answer += struct.pack("!HHHIH", pointer_to_name, A, INTERNET, ANSWER_TTL_S, 4) + socket.inet_aton(address)
    return answer


def failure(query: bytes) -> bytes:
    """That the server cannot say (SERVFAIL)."""
    return query[:2] + struct.pack("!HHHHH", 0x8182, 0, 0, 0, 0)


def answers(query: bytes, question: Question, answer: bytes) -> bool:
    """Whether it is one to this very question."""
    end = question.end
    return len(answer) >= end and bool(answer[2] & 0x80) and answer[HEADER_BYTES:end].lower() == query[HEADER_BYTES:end].lower()
