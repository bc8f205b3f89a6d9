"""`python -m deploy.local.install`: fetch Kafka's jars and make its start-up archive. `--check`: status 0 if all is there."""

from __future__ import annotations

import sys

from deploy.local.engines.java import Java, archive
from deploy.local.engines.java_archive import make_archive
from deploy.local.jars import present_jars
from shared.domain.errors import ConfigurationError


def main() -> int:
    try:
        if sys.argv[1:] == ["--check"]:
            return 0 if present_jars() and archive(Java.find()) else 1
        make_archive(Java.find())
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
