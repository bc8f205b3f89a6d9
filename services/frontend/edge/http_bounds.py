"""How long and how large what a client sends may be, and how many clients there may be."""

from __future__ import annotations

import msgspec

from services.frontend.edge.room import Room
from shared.settings import FrontendSettings


class HttpBounds(msgspec.Struct, frozen=True):
    room: Room
    header_bytes_max: int
    header_timeout_s: float
    body_timeout_s: float
    keep_alive_timeout_s: float
    cancel_on_disconnect: bool = False

    @classmethod
    def of(cls, settings: FrontendSettings) -> HttpBounds:
        return cls(
            room=Room(settings.connections_max, settings.connections_per_address_max),
            header_bytes_max=settings.header_bytes_max,
            header_timeout_s=settings.request_header_timeout_s,
            body_timeout_s=settings.request_body_timeout_s,
            keep_alive_timeout_s=settings.keep_alive_timeout_s,
            cancel_on_disconnect=settings.cancel_on_disconnect,
        )
