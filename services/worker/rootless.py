"""Running functions without root: the weaker level that an operator has to name (LAMBDAD_WORKER__ISOLATION=rootless).

The worker moves into a user namespace of its own, in which its user is called root and there is nobody else. There it may make
the namespaces, mounts and filters that sandboxes are made of; every sandbox gets a user namespace of its own in turn. What root
alone can give is missing, and SECURITY.md says what that is.
"""

from __future__ import annotations

import os
from pathlib import Path

from services.worker.sandbox import libc, namespaces
from shared.domain.errors import ConfigurationError
from shared.settings import Settings

ROOTLESS = "rootless"


def enter(settings: Settings) -> None:
    """Before the process has a second thread: only then the kernel lets it. Does nothing at the full level, or again.

    Raises ConfigurationError where the kernel does not let users have namespaces, and when it is root that wants less."""
    if settings.worker.isolation != ROOTLESS or namespaces.has_one_user():
        return
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        raise ConfigurationError("LAMBDAD_WORKER__ISOLATION=rootless is for users: root gives functions more than that")
    try:
        libc.unshare(namespaces.NEW_USER | namespaces.NEW_MOUNT)
        _write("setgroups", "deny")
        _write("uid_map", f"0 {uid} 1")
        _write("gid_map", f"0 {gid} 1")
        namespaces.keep_mounts_private()
    except OSError as error:
        raise ConfigurationError(
            f"this kernel gives users no namespaces ({error}). Look at the sysctls user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, or start the worker as root."
        ) from error


def _write(name: str, text: str) -> None:
    Path(f"/proc/self/{name}").write_text(text)
