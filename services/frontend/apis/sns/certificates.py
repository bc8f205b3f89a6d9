"""The page with the certificate of the key that messages are signed with: anybody may read it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from services.frontend.endpoint.api import Pages
from shared.aws.protocols.protocol import Response
from shared.domain.errors import ServiceException
from shared.registry import signing_keys
from shared.registry.registry import Registry
from shared.sns.signing import PAGE

_NAME = re.compile(r"([0-9a-f]{32})\.pem")


def pages(registry: Registry) -> Pages:
    return f"/{PAGE}".encode(), _reader(registry)


def _reader(registry: Registry) -> Callable[[str], Awaitable[Response | None]]:
    async def read(name: str) -> Response | None:
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        try:
            async with registry.read() as connection:
                certificate = await signing_keys.certificate(connection, found[1])
        except ServiceException:
            return Response(503, [(b"content-type", b"text/plain")], b"")
        if certificate is None:
            return None
        return Response(200, [(b"content-type", b"application/x-pem-file")], certificate.encode())

    return read
