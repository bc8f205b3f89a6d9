"""The Rubies of a host, by the runtime that each is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from services.worker.runtimes.host import programs_in, versions_of

_ASKS = ("--disable=gems", "-e", "print 'ruby' + RUBY_VERSION[/\\A\\d+\\.\\d+/] if RUBY_ENGINE == 'ruby'")
_RUNTIME = re.compile(r"ruby\d+\.\d+")
_MANAGED = (
    ("RBENV_ROOT", ".rbenv", "versions/*"),
    ("ASDF_DATA_DIR", ".asdf", "installs/ruby/*"),
    ("MISE_DATA_DIR", ".local/share/mise", "installs/ruby/*"),
    ("rvm_path", ".rvm", "rubies/ruby-*"),
)
"""Version managers: the variable that says where it is, where it is by default in the home folder, and its Rubies there."""
_FOLDERS = ("/opt/rubies/*", "/usr/local/rvm/rubies/ruby-*")


def find_rubies() -> dict[str, Path]:
    """{"ruby3.4": its executable}, oldest first, each of the version that it says: a version manager's newest of a version,
    then those in usual folders, then `ruby` and `ruby3.4` on PATH, in `/usr/local/bin` and `/usr/bin`."""
    found: dict[str, Path] = {}
    for path, answer in versions_of(programs_in(_candidates()), *_ASKS).items():
        if _RUNTIME.fullmatch(answer):
            found.setdefault(answer, path)
    return dict(sorted(found.items(), key=lambda item: _numbers(item[0])))


def _candidates() -> list[Path]:
    home = Path(os.environ.get("HOME") or Path.home())
    roots = [Path(os.environ.get(variable) or home / folder).glob(pattern) for variable, folder, pattern in _MANAGED]
    roots += [Path("/").glob(pattern[1:]) for pattern in _FOLDERS]
    managed = [folder / "bin" / "ruby" for root in roots for folder in _newest_first(root)]
    path = [Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry]
    # A version manager's shims are scripts, not Rubies.
    folders = [*(folder for folder in path if folder.name != "shims"), Path("/usr/local/bin"), Path("/usr/bin")]
    return [*managed, *(ruby for folder in folders for ruby in (folder / "ruby", *sorted(folder.glob("ruby[0-9].[0-9]"))))]


def _newest_first(folders: Iterable[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: _numbers(folder.name), reverse=True)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))
