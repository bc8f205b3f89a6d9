"""TLS between callers and workers that are on several hosts: both show a certificate of the cluster's own authority.

Without it the cluster secret says who is there, and whoever listens on the network reads events and responses.
"""

from __future__ import annotations

import ssl

from shared.domain.errors import ConfigurationError
from shared.settings import DispatchSettings


def for_worker(settings: DispatchSettings) -> ssl.SSLContext | None:
    """What a dispatch port listens with; None without TLS. Raises ConfigurationError."""
    return _context(settings, ssl.Purpose.CLIENT_AUTH)


def for_caller(settings: DispatchSettings) -> ssl.SSLContext | None:
    """What a worker is dialled with: its certificate has to be of the address that it announces. None without TLS. Raises
    ConfigurationError."""
    return _context(settings, ssl.Purpose.SERVER_AUTH)


def _context(settings: DispatchSettings, purpose: ssl.Purpose) -> ssl.SSLContext | None:
    ca, certificate, key = settings.tls_ca_file, settings.tls_certificate_file, settings.tls_key_file
    if ca is None and certificate is None and key is None:
        return None
    if ca is None or certificate is None or key is None:
        raise ConfigurationError(
            "TLS between hosts takes all three: LAMBDAD_DISPATCH__TLS_CA_FILE, LAMBDAD_DISPATCH__TLS_CERTIFICATE_FILE and "
            "LAMBDAD_DISPATCH__TLS_KEY_FILE"
        )
    try:
        context = ssl.create_default_context(purpose, cafile=ca)
        context.load_cert_chain(certificate, key)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"TLS between hosts: {ca}, {certificate} and {key} cannot be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    return context
