"""What goes wrong before a cluster runs is said in words that name the thing to change, never by a traceback."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from deploy.local import preflight
from deploy.local import up as up_module
from deploy.local.bootstrap import function_interpreters
from deploy.local.launch import Launch, launch
from deploy.local.layout import CHECKOUT, DataDir
from deploy.local.up import UpRequest, run_detached, run_foreground
from services.worker.sandbox import host
from shared.domain.errors import ConfigurationError
from tests.integration.local.conftest import clean_environment, run_lambdad
from tests.support import wait_until

EXTERNAL = {
    "LAMBDAD_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "LAMBDAD_REDIS_URL": "redis://127.0.0.1:1/0",
    "LAMBDAD_DATABASE_URL": "postgresql://127.0.0.1:1/x",
}
Usage = namedtuple("Usage", "total used free")


def refused(result: subprocess.CompletedProcess[str]) -> str:
    """The message of a command that the operator must help; whatever it is, it is no traceback."""
    said = result.stdout + result.stderr
    assert result.returncode == 2, said
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("how", ["foreground", "detached"])
def test_a_taken_port_is_named_with_its_holder(how: str, scratch: Path, taken_port: int) -> None:
    detach = ["--detach"] if how == "detached" else []
    up = run_lambdad(
        "up", "--engines-only", *detach, "--port", str(taken_port), "--data-dir", str(scratch / "data"), **EXTERNAL
    )
    said = refused(up)
    assert f"Port {taken_port} of 127.0.0.1 is taken by " in said
    assert f"(pid {os.getpid()})" in said
    assert "--port" in said


def test_an_engine_that_cannot_start_is_shown_with_the_end_of_its_log_and_the_others_end(
    scratch: Path, taken_port: int
) -> None:
    data = scratch / "data"
    (data / "postgres" / "data").mkdir(parents=True)
    (data / "postgres" / "data" / "PG_VERSION").write_text("9.1\n")
    others = {"LAMBDAD_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{taken_port}"}
    said = refused(run_lambdad("up", "--engines-only", "--detach", "--port", "29999", "--data-dir", str(data), **others))
    assert "postgres does not start" in said
    assert "postgresql.conf" in said
    assert not [process for process in psutil.process_iter() if str(data) in " ".join(command_of(process))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def test_engines_named_by_url_that_do_not_answer_are_named(scratch: Path) -> None:
    said = refused(run_lambdad("up", "--engines-only", "--port", "29999", "--data-dir", str(scratch / "data"), **EXTERNAL))
    assert "names 127.0.0.1:1, but: Connection refused" in said


def test_a_kafka_that_is_named_half_is_refused(scratch: Path) -> None:
    half = {"LAMBDAD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "LAMBDAD_KAFKA_SASL_USERNAME": "me"}
    said = refused(
        run_lambdad("up", "--engines-only", "--port", "29999", "--data-dir", str(scratch / "data"), **EXTERNAL, **half)
    )
    assert "SASL_SSL needs a username and a password" in said


def test_a_data_directory_that_cannot_be_made_is_named(scratch: Path) -> None:
    (scratch / "file").write_text("in the way")
    said = refused(run_lambdad("up", "--data-dir", str(scratch / "file" / "data"), **EXTERNAL))
    assert str(scratch / "file" / "data") in said


def test_damaged_credentials_are_named_and_not_replaced(scratch: Path) -> None:
    data = scratch / "data"
    data.mkdir()
    (data / "credentials.json").write_text("{")
    said = refused(run_lambdad("up", "--engines-only", "--port", "29999", "--data-dir", str(data), **EXTERNAL))
    assert "credentials.json is damaged" in said
    assert (data / "credentials.json").read_text() == "{"


@pytest.mark.parametrize("arguments", [("--workers", "99"), ("--port", "70000"), ("--workers", "-1")])
def test_options_out_of_bounds_are_named(arguments: tuple[str, str], scratch: Path) -> None:
    assert arguments[0] in refused(run_lambdad("up", *arguments, "--data-dir", str(scratch / "data"), **EXTERNAL))


def test_no_auth_is_for_loopback_alone(scratch: Path) -> None:
    up = run_lambdad(
        "up", "--no-auth", "--port", "29999", "--data-dir", str(scratch / "data"), **EXTERNAL, LAMBDAD_FRONTEND__HOST="0.0.0.0"
    )
    assert "--no-auth is for the loopback interface alone" in refused(up)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 10**6))
    with pytest.raises(ConfigurationError, match="has 1 MiB left and 512 MiB are needed"):
        preflight.check(tmp_path / "not" / "there" / "yet", 29_999, workers=0)


@pytest.mark.parametrize("start", [run_foreground, run_detached])
def test_an_ordinary_user_is_refused_before_anything_is_fetched_or_written(
    start: Callable[[UpRequest], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(up_module, "ensure_installed", lambda _: pytest.fail("something is fetched"))
    data = DataDir.at(tmp_path / "data")
    with pytest.raises(ConfigurationError, match=r"must be started by root: .* Start it with sudo"):
        start(UpRequest(data, None, None, auth=True))
    assert not data.root.exists()


def test_make_up_of_an_ordinary_user_fetches_nothing(scratch: Path) -> None:
    (scratch / "Makefile").write_text((CHECKOUT / "Makefile").read_text())
    scratch.chmod(0o755)
    (scratch / "Makefile").chmod(0o644)
    command = [os.path.realpath(shutil.which("make") or "make"), "-C", str(scratch), "up"]
    done = subprocess.run(command, user=65_534, capture_output=True, text=True, timeout=30, env={"PATH": os.defpath})
    assert done.returncode == 2
    assert "must be started by root" in done.stderr
    assert "bootstrap" not in done.stdout + done.stderr
    named = {"PATH": os.defpath, "LAMBDAD_WORKER__ISOLATION": "rootless"}
    done = subprocess.run(command, user=65_534, capture_output=True, text=True, timeout=30, env=named)
    assert "must be started by root" not in done.stderr
    assert "find_python.sh" in done.stderr, "the set-up is begun, which this folder does not have"


def test_missing_kernel_features_are_all_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "_has_call", lambda number: False)
    monkeypatch.setattr(preflight, "_controllers", lambda: {"cpu"})
    with pytest.raises(ConfigurationError) as caught:
        preflight.check(tmp_path, 29_999, workers=1)
    for name in ("fsopen", "move_mount", "pidfd_open", "memory, pids"):
        assert name in str(caught.value)


@pytest.mark.parametrize("old", [pytest.param(name, marks=pytest.mark.needs(name)) for name in ("python3.8", "python3.10")])
def test_a_python_that_is_too_old_is_named(old: str) -> None:
    result = subprocess.run(
        [str(function_interpreters()[old]), "deploy/local/cli.py", "status"],
        cwd=CHECKOUT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("lambdad needs Python 3.11 or newer; this is 3.")


def test_this_machine_passes_its_own_checks(tmp_path: Path) -> None:
    preflight.check(tmp_path, 29_998, workers=1)


@pytest.mark.skipif("os.geteuid() != 0")
def test_a_child_of_another_user_sees_its_directory_below_a_closed_one(scratch: Path) -> None:
    closed = scratch / "closed"
    wanted = closed / "deep" / "wanted"
    wanted.mkdir(parents=True)
    (wanted / "file").write_text("seen")
    (closed / "secret").write_text("hidden")
    wanted.chmod(0o755)
    closed.chmod(0o700)
    script = f"cat {wanted}/file && ls {closed} && id -u"
    child = launch(
        Launch(("/bin/sh", "-c", script), scratch / "log", {"PATH": "/usr/bin:/bin"}, user=(65534, 65534), visible=(wanted,))
    )
    assert child.wait(10) == 0
    assert (scratch / "log").read_text() == "seendeep\n65534\n"
    assert (closed / "secret").read_text() == "hidden"


def test_a_child_dies_with_its_parent(scratch: Path) -> None:
    script = (
        "import pathlib, signal, os; from deploy.local.launch import Launch, launch;"
        f"child = launch(Launch(('/bin/sleep', '60'), pathlib.Path({str(scratch / 'log')!r})));"
        "print(child.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False
    )
    pid = int(parent.stdout)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text())


def test_a_machine_without_bash_or_with_a_socket_for_cores_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = tmp_path / "core_pattern"
    pattern.write_text("@/run/cores.socket\n")
    monkeypatch.setattr(host, "CORE_PATTERN", pattern)
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_more: None)
    with pytest.raises(ConfigurationError) as caught:
        preflight.check(tmp_path, 29_997, workers=1)
    assert "install bash" in str(caught.value)
    assert "sysctl kernel.core_pattern=core" in str(caught.value)
