"""CPython for functions: uv's builds, and a Maven repository's where those cannot be had."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.local import fetched_python
from deploy.local.bootstrap import SetupError, run
from deploy.local.fetched_python import install_python, trusting_this_system
from deploy.local.jars import read_lock
from services.worker.runtimes.host import architecture
from services.worker.runtimes.python.interpreters import INTERPRETERS, find_interpreters
from shared.domain.runtimes import INSTALLABLE

ASKS = "import ssl, ctypes, sys; found = ssl.get_default_verify_paths(); print(sys.prefix, found.openssl_cafile, found.openssl_capath)"
BUILD_BYTES_MAX = 80 * 1024**2


@pytest.fixture
def interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are installed; uv cannot have any."""
    monkeypatch.setattr(fetched_python, "RUNTIMES", tmp_path)
    monkeypatch.setattr(fetched_python, "UV", Path("/bin/false"))
    monkeypatch.delenv(fetched_python.SOURCES, raising=False)
    return tmp_path / INTERPRETERS


def test_where_uv_has_none_a_whole_interpreter_comes_from_the_package_registry(
    interpreters: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    install_python("python3.14")
    said = capfd.readouterr()
    assert [line for line in (said.out + said.err).splitlines() if "uv" in line] == [
        "    uv can get no build of it (status 1): taken from a Maven repository"
    ]
    program = find_interpreters(interpreters)["python3.14"]
    assert program.is_relative_to(interpreters)
    asked = subprocess.run([str(program), "-I", "-c", ASKS], capture_output=True, text=True, check=True, timeout=30)
    prefix, *trusted = asked.stdout.split()
    assert Path(prefix).resolve() == program.parent.parent
    # Authorities are looked for where Linux systems have them, not on the machine that it was built on.
    assert trusted == ["/etc/ssl/cert.pem", "/etc/ssl/certs"]
    assert sum(path.lstat().st_size for path in interpreters.rglob("*")) < BUILD_BYTES_MAX
    assert [folder.name for folder in interpreters.iterdir()] == [program.parent.parent.name]
    closed = [path for path in interpreters.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o444 != 0o444]
    assert not closed, "a function, whose user is nobody's, reads what it runs under"


def test_of_a_program_that_may_fail_the_end_of_what_it_says_is_enough(capfd: pytest.CaptureFixture[str]) -> None:
    says = "echo error: Failed to install >&2; echo '  cause: no such name' >&2; exit 2"
    with pytest.raises(SetupError, match=r"^no such name$"):
        run("/bin/sh", "-c", says, quiet=True)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(SetupError, match="failed with status 2; its message is above"):
        run("/bin/sh", "-c", says)
    assert "cause: no such name" in capfd.readouterr().err


def test_a_version_that_no_registry_has_is_an_error_and_leaves_nothing(
    interpreters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SetupError, match="failed with status 1"):
        install_python("python3.9")
    monkeypatch.setenv(fetched_python.SOURCES, "maven")
    with pytest.raises(SetupError, match=r"no package registry has a build of python3\.9 for "):
        install_python("python3.9")
    assert not interpreters.exists()


def test_one_source_alone_can_be_asked(interpreters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fetched_python.SOURCES, "uv")
    with pytest.raises(SetupError, match="failed with status 1"):
        install_python("python3.14")
    assert not interpreters.exists()


def test_what_cannot_be_fetched_leaves_nothing(interpreters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAD_JAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LAMBDAD_OFFLINE", "1")
    with pytest.raises(SetupError, match="LAMBDAD_OFFLINE=1 forbids"):
        install_python("python3.14")
    assert list(interpreters.iterdir()) == []


def test_a_program_is_changed_in_place_and_nothing_in_it_moves() -> None:
    folder = b"/home/somebody/cppbuild/linux-x86_64/ssl"
    before = b"code\0" + folder + b"/cert.pem\0\0" + folder + b"\0built in " + folder + b"\0end"
    after = trusting_this_system(before)
    assert len(after) == len(before)
    assert after.startswith(b"code\0/etc/ssl/cert.pem\0")
    assert after.endswith(b"\0built in " + folder + b"\0end")
    assert (b"/etc/ssl\0" in after, folder + b"/cert.pem" in after) == (True, False)


def test_every_pinned_build_is_of_a_runtime_and_the_newest_is_there_for_this_machine() -> None:
    pinned = [jar.coordinate.split(":") for jar in read_lock(fetched_python.BUILDS.lock)]
    assert {f"python{'.'.join(version.split('.')[:2])}" for _, _, version, _ in pinned} <= set(INSTALLABLE)
    assert ("3.14.3-1.5.13", f"linux-{architecture()}") in {(version, classifier) for _, _, version, classifier in pinned}
    assert "://" not in fetched_python.BUILDS.lock.read_text()
