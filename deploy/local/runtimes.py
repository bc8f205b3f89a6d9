"""The runtimes that functions can run on here, and the one that examples use."""

from __future__ import annotations

import sys

from deploy.local.layout import RUNTIMES
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.nodejs.family import SDK
from shared.domain.runtimes import CUSTOM, INSTALLABLE, RUNTIMES_OFFERED
from shared.settings import WorkerSettings

FAVOURITE = "python3.12"
"""Named by most examples for AWS Lambda, so theirs work as they are."""


def survey() -> tuple[list[str], list[str], list[str]]:
    """What functions can run on here, the SDK among it; what `lambdad runtimes install` could add; and what functions can be
    created with that is neither."""
    known = {*RUNTIMES_OFFERED, *CUSTOM}
    here = [name for name in Catalogue(WorkerSettings(runtime_dir=RUNTIMES)).installed() if name in known]
    if (RUNTIMES / SDK).is_dir():
        here.append(SDK)
    addable = [name for name in (*INSTALLABLE, SDK) if name not in here]
    return here, addable, sorted(name for name in RUNTIMES_OFFERED if name not in here and name not in addable)


def usable_pythons() -> list[str]:
    """Runtimes whose interpreter and runtime client a worker started from here finds, oldest first."""
    found = Catalogue(WorkerSettings(runtime_dir=RUNTIMES)).installed()
    return [runtime for runtime in found if runtime.startswith("python")]


def example_runtime() -> str:
    """The runtime that examples name and that is warmed up: one that runs here, python3.12 before all others.

    Where none does, the runtime of this interpreter: what is said of it then tells what to install.
    """
    found = usable_pythons()
    if FAVOURITE in found:
        return FAVOURITE
    return found[-1] if found else f"python3.{sys.version_info.minor}"
