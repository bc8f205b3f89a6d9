"""What `lambdad logs` shows: the end of each log, from a moment on, of the services that are named."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from deploy.local.cli import main
from deploy.local.log_times import moment, written_at
from deploy.local.logs import show
from deploy.local.version import version

AT = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "line",
    [
        '{"time":"2026-02-03T04:05:06.123Z","level":"INFO","message":"x"}',
        "2026-02-03 04:05:06.123 UTC [77] LOG:  database system is ready",
        "2026-02-03T04:05:06,123 INFO KafkaServer: started",
        "77:M 03 Feb 2026 04:05:06.123 * Ready to accept connections tcp",
        "2026-02-03T05:05:06+01:00 elsewhere",
    ],
)
def test_everybodys_way_to_say_the_time_is_read(line: str) -> None:
    assert written_at(line) == AT


def test_a_line_without_a_time_has_none() -> None:
    assert written_at("    at java.base/java.lang.Thread.run(Thread.java:840)") is None


def test_a_moment_is_a_time_or_so_long_ago() -> None:
    assert moment("2026-02-03T04:05:06") == AT
    assert moment("2026-02-03T06:05:06+02:00") == AT
    assert abs(moment("90m") - (datetime.now(UTC) - timedelta(minutes=90))) < timedelta(seconds=5)
    with pytest.raises(ValueError, match="neither like 30s"):
        moment("yesterday")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    line = "2026-02-03T04:05:{:02}Z line {}\n"
    (logs / "worker-1.log.1").write_text("".join(line.format(n, n) for n in range(20)))
    (logs / "worker-1.log").write_text("".join(line.format(n, n) + "    continued\n" for n in range(20, 60)))
    (logs / "worker-2.log").write_text("2026-02-03T04:05:59Z of the second\n")
    (logs / "router.log").write_text("2026-02-03T04:05:00Z of the router\n")
    return tmp_path


def shown(data: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["logs", "--data-dir", str(data), *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_so_many_lines_are_shown_and_forty_without_a_word(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(shown(data, capsys, "worker-1")) == 40
    assert len(shown(data, capsys, "worker-1", "-n", "90")) == 90
    assert [line.split(maxsplit=1)[1] for line in shown(data, capsys, "worker-1", "--lines", "2")] == [
        "2026-02-03T04:05:59Z line 59",
        "continued",
    ]
    assert shown(data, capsys, "worker-1", "--lines", "0") == []


def test_a_moment_bounds_what_is_shown_also_in_what_was_rotated(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(data, capsys, "worker-1", "--since", "2026-02-03T04:05:18")
    assert "line 18" in found[0]
    assert len(found) == 2 + 2 * 40
    assert shown(data, capsys, "worker-1", "--since", "1h") == []


def test_a_kind_of_service_names_all_of_them(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = shown(data, capsys, "worker", "--since", "2026-02-03T04:05:59")
    assert [line.split()[0] for line in found] == ["worker-1", "worker-1", "worker-2"]
    assert {line.split()[0] for line in shown(data, capsys)} == {"worker-1", "worker-2", "router"}
    assert main(["logs", "--data-dir", str(data), "work"]) == 2
    assert "there are: router, worker-1, worker-2" in capsys.readouterr().err


def test_a_folder_without_a_cluster_has_no_logs_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--data-dir", str(tmp_path / "none")]) == 2
    assert f"No cluster was ever started in {tmp_path / 'none'}; start one with" in capsys.readouterr().err


def test_the_version_and_where_state_is_kept_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, told in ((["--version"], "lambdad 0."), (["status", "--help"], ".lambdad in the current directory")):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
        assert told in " ".join(capsys.readouterr().out.split())


def test_sources_that_are_not_installed_have_a_version_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in an image."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version().startswith("0.")
    monkeypatch.setattr("deploy.local.version.CHECKOUT", tmp_path)
    assert version() == "unknown"


def test_what_is_not_there_is_no_trouble(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(tmp_path, ["gone"], lines=None, since=None, follow=False)
    assert capsys.readouterr().out == ""
