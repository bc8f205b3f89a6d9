"""An error in the words of whichever service it is asked of, and in the protocol of whoever asks."""

from __future__ import annotations

import asyncio

from services.frontend.edge.answers import Scope, Send
from services.frontend.endpoint import asked
from services.frontend.endpoint.service_app import send_response
from shared.aws.protocols.protocol import WireProtocol
from shared.aws.protocols.table import PROTOCOLS
from shared.aws.service_model import ServiceModel, bare_service_model, load_service_model
from shared.aws.signatures.signing_names import folder_of
from shared.domain.errors import ApiError


async def send_error_of(service: str, scope: Scope, send: Send, error: ApiError, request_id: str) -> None:
    """service: as its signatures name it; it need not be one that is served here."""
    model, protocol = await asyncio.to_thread(_protocol_of, service, asked.spoken(scope))
    await send_response(send, protocol.error(model, error, request_id))


def _protocol_of(service: str, spoken: str | None) -> tuple[ServiceModel, WireProtocol]:
    """How an error of a service looks to this client. Reads the service's description: not on the event loop."""
    folder = folder_of(service)
    model = bare_service_model(service) if folder is None else load_service_model(folder)
    names = model.protocols if folder is not None or spoken is None else (spoken,)
    wanted = "ec2" if spoken == "query" and "ec2" in names else spoken
    return model, PROTOCOLS[wanted if wanted is not None and wanted in names else names[0]]
