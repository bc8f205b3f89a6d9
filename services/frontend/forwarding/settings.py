"""Where requests for other services go, read from the settings once: an endpoint a service, and with whose signature."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from shared.aws.service_model import is_service, load_service_model
from shared.aws.signatures.resigning import SigningKeys
from shared.aws.signatures.signing_names import folder_of
from shared.domain.errors import ConfigurationError
from shared.settings import ForwardSigning, Settings

ALL = "*"
"""Every service that is neither served here nor named."""
NEVER = "lambda"


def setting_of(service: str) -> str:
    """The setting with a service's endpoint, as a shell can say it: no variable's name has a dash."""
    return f"LAMBDAD_FORWARD__{service.upper().replace('-', '_')}"


def _service_of(name: str) -> str:
    """No service's name has an underscore."""
    return name.lower().replace("_", "-")


class Endpoint(msgspec.Struct, frozen=True):
    """base_path: in front of every request's, without a slash at its end. signing: None to pass requests as they are.

    region: that signatures are for, empty for the request's own.
    """

    url: str
    scheme: bytes
    host: bytes
    port: int | None
    base_path: bytes
    signing: SigningKeys | None
    region: str

    @property
    def authority(self) -> bytes:
        host = b"[%b]" % self.host if b":" in self.host else self.host
        return host if self.port is None else b"%b:%d" % (host, self.port)


class Endpoints:
    """Raises ConfigurationError."""

    def __init__(self, settings: Settings) -> None:
        self.targets: dict[str, str] = {}
        self._named: dict[str, Endpoint] = {}
        self._others: Endpoint | None = None
        signing = {_service_of(name): keys for name, keys in settings.forward_sign.items()}
        forwarded = {_service_of(name): url for name, url in settings.forward.items()}
        for name in signing:
            if name not in forwarded:
                setting = setting_of(name)
                raise ConfigurationError(f"{setting.replace('FORWARD', 'FORWARD_SIGN')} is set, and {setting} is not")
        for name, url in forwarded.items():
            self._add(name, _endpoint(name, url, signing.get(name)))

    def names(self, service: str) -> bool:
        return service in self._named

    def of(self, service: str) -> Endpoint | None:
        return self._named.get(service, self._others)

    def _add(self, name: str, endpoint: Endpoint) -> None:
        if name == ALL:
            self._others = endpoint
            return
        folder = folder_of(name)
        if name == NEVER or folder is None:
            why = "Lambda is what is served here" if name == NEVER else "there is no such service"
            raise ConfigurationError(f"{setting_of(name)}: {why}")
        self._named[name] = endpoint
        model = load_service_model(folder)
        if model.signing_name == name:
            return
        # What signatures call it is another service's name, or only another name for this one.
        if is_service(model.signing_name):
            if model.target is not None:
                self.targets[model.target] = name
        else:
            self._named.setdefault(model.signing_name, endpoint)


def _keys(signing: ForwardSigning) -> SigningKeys:
    return SigningKeys(
        signing.access_key_id,
        signing.secret_access_key.get_secret_value(),
        signing.session_token.get_secret_value() or None,
    )


def _endpoint(name: str, url: str, signing: ForwardSigning | None) -> Endpoint:
    setting = setting_of(name)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"{setting}: {url!r} is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigurationError(f"{setting}: {url!r} is not of the form http://host:port or https://host/path")
    return Endpoint(
        url=url,
        scheme=parts.scheme.encode(),
        host=parts.hostname.encode("idna"),
        port=port,
        base_path=parts.path.rstrip("/").encode(),
        signing=None if signing is None else _keys(signing),
        region="" if signing is None else signing.region,
    )
