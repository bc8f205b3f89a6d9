"""Ruby for functions: no package registry has it by version, so it is the system's package of that very version, where there is
one, or a version manager's that is there already."""

from __future__ import annotations

import os
import shutil
import subprocess

from deploy.local.bootstrap import SetupError, run, say
from services.worker.runtimes.ruby.interpreters import find_rubies

ASK_TIMEOUT_S = 60


def install_ruby(runtime: str) -> None:
    """Raises SetupError, saying what the operator can do, when this system has no package of the version."""
    if runtime in find_rubies():
        say(f"{runtime} is installed")
        return
    if os.geteuid() == 0 and _is_packaged(runtime):
        say(f"{runtime}, this system's package")
        run("apt-get", "install", "--yes", "--quiet=2", "--no-install-recommends", runtime, DEBIAN_FRONTEND="noninteractive")
        if runtime in find_rubies():
            return
    found = ", ".join(find_rubies()) or "none"
    raise SetupError(
        f"{runtime} cannot be fetched here (found: {found}): this system's packages do not have it, or you are not root. "
        f"Install Ruby {runtime.removeprefix('ruby')} with a version manager (rbenv, ruby-install, mise, asdf, RVM), where "
        "workers look for it."
    )


def _is_packaged(name: str) -> bool:
    """Whether apt knows a package of this name, after a look at what is new if need be."""
    if shutil.which("apt-get") is None or shutil.which("apt-cache") is None:
        return False
    if _has_candidate(name):
        return True
    run("apt-get", "update", "--quiet=2")
    return _has_candidate(name)


def _has_candidate(name: str) -> bool:
    asked = subprocess.run(
        ["apt-cache", "policy", name],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=ASK_TIMEOUT_S,
        check=False,
    )
    versions = [line.split(":", 1)[1].strip() for line in asked.stdout.splitlines() if line.strip().startswith("Candidate:")]
    return bool(versions) and versions[0] != "(none)"
