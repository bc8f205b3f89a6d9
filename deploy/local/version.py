"""Which version of lambdad this is."""

from __future__ import annotations

import tomllib
from importlib import metadata

from deploy.local.layout import CHECKOUT


def version() -> str:
    """As it was installed; in an image, which holds the sources alone, as they say. `unknown` where neither says it."""
    try:
        return metadata.version("lambdad")
    except metadata.PackageNotFoundError:
        pass
    try:
        return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"])
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        return "unknown"
