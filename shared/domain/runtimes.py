"""The runtimes that a function may name: AWS's, as it offers them to who creates or updates one."""

from __future__ import annotations

import re

# fmt: off
RUNTIMES_CURRENT = (
    "nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x", "nodejs22.x", "java25",
    "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2", "python3.8", "python3.9", "java17", "nodejs16.x",
    "dotnet10", "dotnet8", "java11", "dotnet6", "nodejs18.x", "provided.al2", "java8.al2",
)
"""In the order in which AWS was seen to print them."""
RUNTIMES_NEWER = ("nodejs26.x", "python3.15", "ruby4.0", "java8.al2023", "java11.al2023", "java17.al2023")
"""In the service model, but not yet in the recorded text."""
RUNTIMES_DEPRECATED = frozenset({
    "nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x",
    "python2.7", "python3.6", "python3.7", "java8", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1",
    "go1.x", "ruby2.5", "ruby2.7", "provided",
})
# fmt: on
RUNTIMES_OFFERED = RUNTIMES_CURRENT + RUNTIMES_NEWER
INSTALLABLE = (
    *(f"nodejs{major}.x" for major in (18, 20, 22, 24, 26)),
    *(f"python3.{minor}" for minor in range(8, 16)),
    *("ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0"),
    *(f"java{major}" for major in (11, 17, 21, 25)),
)
"""What `lambdad runtimes install` brings, if it can be had on that machine."""
CUSTOM = ("provided", "provided.al2", "provided.al2023")
"""Whose program comes with the function: every worker runs them."""


def how_to_install(runtime: str) -> str:
    """What the operator does so that a worker has it: a sentence with the command in it."""
    if runtime in INSTALLABLE:
        return f"Run `lambdad runtimes install {runtime}` on a worker's host, and restart that worker."
    if found := re.fullmatch(r"nodejs(\d+)\.x", runtime):
        return f"Put a `node` of version {found[1]} on the PATH of a worker, and restart that worker."
    return "No worker can be given it: choose a provided runtime with a bootstrap program that brings the language along."


def why_not_installed(name: str) -> str:
    """Why `lambdad runtimes install` does not bring what has this name, and what to do instead."""
    if name in CUSTOM:
        return f"{name} needs no installation: the function brings its program along."
    if name in RUNTIMES_OFFERED:
        return f"{name} cannot be installed. {how_to_install(name)}"
    if name in RUNTIMES_DEPRECATED:
        return f"{name} cannot be installed: AWS lets no function be created with it any more, and neither does this cluster."
    return f"there is no runtime {name}; `lambdad runtimes` lists those that there are."
