"""Which certificates the tools of the set-up trust: those of the operator's variables, else those of this system.

A machine behind a proxy that inspects TLS trusts the proxy's authority in its own store alone; uv, pip, Node.js and the HTTP
library that fetches the jars each bring a store of their own, and look there only when told. Standard library only: this runs
before anything is installed.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NAMED_BY = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
"""Variables with which operators name a file of certificates; the first that does counts for every tool not told otherwise."""

SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, Red Hat
    Path("/etc/ssl/ca-bundle.pem"),  # SUSE
    Path("/etc/ssl/cert.pem"),  # Alpine
)


def with_certificates(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a tool that downloads. What it names already is kept; proxies are the tools' own to read."""
    told = dict(environment)
    if "UV_NATIVE_TLS" not in told:
        told.setdefault("UV_SYSTEM_CERTS", "true")
    bundle = _named(told) or _folder(told) or system_bundle()
    if bundle is None:
        return told
    # Not PIP_CERT, nor npm's: those would win over `cert` and `cafile` in configuration files, and these do not.
    told.setdefault("REQUESTS_CA_BUNDLE", bundle)
    if "SSL_CERT_DIR" not in told:
        told.setdefault("SSL_CERT_FILE", bundle)
    if Path(bundle).is_file():
        told.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return told


def system_bundle() -> str | None:
    """This system's own file of certificates."""
    compiled_in = ssl.get_default_verify_paths().openssl_cafile
    return next((str(path) for path in (*SYSTEM_BUNDLES, Path(compiled_in)) if path.is_file()), None)


@contextmanager
def trusted() -> Iterator[None]:
    """The same for libraries of this process that ask its environment, while the block runs."""
    added = {name: value for name, value in with_certificates(os.environ).items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _named(environment: Mapping[str, str]) -> str | None:
    return next((environment[name] for name in NAMED_BY if Path(environment.get(name) or os.devnull).is_file()), None)


def _folder(environment: Mapping[str, str]) -> str | None:
    folders = environment.get("SSL_CERT_DIR", "").split(os.pathsep)
    return next((folder for folder in folders if folder and Path(folder).is_dir()), None)
