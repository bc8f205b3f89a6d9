"""`lambdad up`, `down`, `status`, `env` and `logs` on engines alone: quick, and the supervisor does not know the difference."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from redis import Redis

from deploy.local.layout import CHECKOUT
from deploy.local.ports import choose
from shared.domain.mappings.kafka import BUILT_IN_CLUSTER, kafka_cluster
from tests.integration.local.conftest import LocalCluster, clean_environment, gone, run_lambdad
from tests.support import wait_until

ENGINES = ["redis", "postgres", "kafka"]


def test_up_ends_with_the_endpoint_and_status_says_that_all_is_ready(running_cluster: LocalCluster) -> None:
    status = running_cluster.status()
    assert status["running"] is True
    assert status["ready"] is True
    assert [child["name"] for child in status["cluster"]["children"]] == ENGINES
    assert {child["state"] for child in status["cluster"]["children"]} == {"ready"}
    table = running_cluster.run("status")
    assert table.returncode == 0
    assert f"http://127.0.0.1:{running_cluster.port}" in table.stdout


def test_every_port_that_status_lists_is_open(running_cluster: LocalCluster) -> None:
    children = running_cluster.status()["cluster"]["children"]
    assert {child["name"] for child in children if child["port"]} == set(ENGINES)
    for child in children:
        socket.create_connection(("127.0.0.1", child["port"]), timeout=5).close()


def test_env_prints_lines_that_a_shell_takes(running_cluster: LocalCluster) -> None:
    script = f'eval "$({sys.executable} -m deploy.local.cli env --data-dir {shlex.quote(str(running_cluster.data_dir))})"; env'
    shell = subprocess.run(["sh", "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=True)
    seen = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert seen["AWS_ENDPOINT_URL"] == f"http://127.0.0.1:{running_cluster.port}"
    assert seen["AWS_REGION"] == "us-east-1"
    assert seen["AWS_ACCESS_KEY_ID"].startswith("AKIA")
    assert len(seen["AWS_ACCESS_KEY_ID"]) == 20
    assert len(seen["AWS_SECRET_ACCESS_KEY"]) == 40
    assert seen["LAMBDAD_FUNCTION_URLS"] == seen["AWS_ENDPOINT_URL"] + "/_lambdad/urls"
    assert seen["REDIS_URL"].startswith("redis://")
    assert seen["QUEUES_REDIS_URL"] == seen["REDIS_URL"]
    assert seen["DATABASE_URL"].startswith("postgresql://")
    assert seen["KAFKA_BOOTSTRAP_SERVERS"].startswith("127.0.0.1:")
    assert (seen["KAFKA_SECURITY_PROTOCOL"], seen["KAFKA_SASL_MECHANISM"]) == ("SASL_PLAINTEXT", "PLAIN")
    assert seen["KAFKA_SASL_USERNAME"]
    assert seen["KAFKA_SASL_PASSWORD"]
    assert kafka_cluster(seen["LAMBDAD_KAFKA_ARN"]) == BUILT_IN_CLUSTER


def test_secrets_are_in_files_that_only_their_owner_reads(running_cluster: LocalCluster) -> None:
    data = running_cluster.data_dir
    secrets = (data / "credentials.json").read_text().split('"')[3::4]
    assert len(secrets) == 6
    for name in ("credentials.json", "addresses.json", "redis/redis.conf", "kafka/server.properties"):
        assert (data / name).stat().st_mode & 0o077 == 0, name
    assert not any(secret in (data / "state.json").read_text() for secret in secrets)
    commands = " ".join(" ".join(process.cmdline()) for process in running_cluster.processes())
    assert not any(secret in commands for secret in secrets)


def test_a_second_up_says_that_it_runs_and_changes_nothing(running_cluster: LocalCluster) -> None:
    pid = running_cluster.status()["cluster"]["supervisor_pid"]
    again = running_cluster.up()
    assert again.returncode == 0
    assert f"A cluster already runs in {running_cluster.data_dir}" in again.stderr
    other = running_cluster.run("up", "--detach", "--port", "1234")
    assert other.returncode == 2
    assert "already runs" in other.stderr
    assert running_cluster.status()["cluster"]["supervisor_pid"] == pid


def test_a_killed_child_is_started_again_and_status_says_so(running_cluster: LocalCluster) -> None:
    before = running_cluster.child("redis")
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: (child := running_cluster.child("redis"))["state"] == "ready" and child["restarts"] == 1)
    after = running_cluster.child("redis")
    assert after["pid"] != before["pid"]
    assert "SIGKILL" in after["last_exit"]
    assert "SIGKILL" in running_cluster.run("status").stdout


def test_a_second_cluster_lives_beside_the_first_and_may_use_its_engines(running_cluster: LocalCluster, scratch: Path) -> None:
    told = running_cluster.environment()
    engines = {f"LAMBDAD_{name}": value for name, value in told.items() if not name.startswith(("AWS_", "LAMBDAD_"))}
    queues = told["REDIS_URL"].removesuffix("/0") + "/1"
    second = LocalCluster(scratch / "data", choose({running_cluster.port}))
    up = second.up(**{**engines, "LAMBDAD_QUEUES_REDIS_URL": queues})
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        for engine in ENGINES:
            assert f"{engine} is the one at 127.0.0.1:" in up.stdout
        children = second.status()["cluster"]["children"]
        assert {child["name"]: child["state"] for child in children} == dict.fromkeys([*ENGINES, "queues"], "external")
        assert second.environment()["REDIS_URL"] == told["REDIS_URL"]
        assert second.environment()["QUEUES_REDIS_URL"] == queues
        assert second.environment()["AWS_ACCESS_KEY_ID"] != running_cluster.environment()["AWS_ACCESS_KEY_ID"]
    finally:
        assert second.run("down").returncode == 0
    assert running_cluster.status()["ready"] is True


def test_a_cluster_that_is_started_in_the_shell_of_another_one_has_engines_of_its_own(
    running_cluster: LocalCluster, scratch: Path
) -> None:
    """A shell that evaluated `lambdad env`, or an application's own DATABASE_URL in it, says nothing about a new cluster."""
    told = running_cluster.environment()
    second = LocalCluster(scratch / "data", choose({running_cluster.port}))
    up = second.up(**told)
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        assert (
            "DATABASE_URL of the environment is not used: this cluster has its own postgres; LAMBDAD_DATABASE_URL" in up.stdout
        )
        assert {child["state"] for child in second.status()["cluster"]["children"]} == {"ready"}
        own = second.environment()
        assert not {"REDIS_URL", "DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SASL_PASSWORD"} & {
            name for name, value in own.items() if told[name] == value
        }
    finally:
        assert second.run("down").returncode == 0


def test_logs_shows_the_children_and_refuses_a_name_that_is_none(running_cluster: LocalCluster) -> None:
    shown = running_cluster.run("logs", "kafka")
    assert shown.stdout.startswith("kafka ")
    assert "INFO" in shown.stdout
    assert len(running_cluster.run("logs", "kafka", "--lines", "3").stdout.splitlines()) == 3
    assert running_cluster.run("logs", "--since", "1d", "postgres").stdout.startswith("postgres ")
    assert running_cluster.run("logs", "--since", "2999-01-01").stdout == ""
    wrong = running_cluster.run("logs", "nonsense")
    assert wrong.returncode == 2
    assert "kafka" in wrong.stderr


def test_state_and_keys_outlive_down_and_up(running_cluster: LocalCluster) -> None:
    before = running_cluster.environment()
    with Redis.from_url(before["REDIS_URL"]) as redis:
        redis.set("kept", "yes")
    processes = running_cluster.processes()
    down = running_cluster.run("down")
    assert down.returncode == 0
    assert gone(processes)
    assert running_cluster.status()["running"] is False
    assert running_cluster.run("status").returncode == 1
    # As in a shell that evaluated `lambdad env`: its own, stopped engines must not be taken for someone else's.
    up = running_cluster.up(**before)
    assert up.returncode == 0, up.stdout + up.stderr
    assert {child["state"] for child in running_cluster.status()["cluster"]["children"]} == {"ready"}
    assert "is not used" not in up.stdout
    assert running_cluster.environment() == before
    with Redis.from_url(before["REDIS_URL"], decode_responses=True) as redis:
        assert redis.get("kept") == "yes"


def test_a_killed_supervisor_leaves_no_process_and_the_next_up_recovers(running_cluster: LocalCluster) -> None:
    processes = running_cluster.processes()
    assert len(processes) > len(ENGINES)
    processes[0].kill()
    wait_until(lambda: gone(processes), what="every child of a killed supervisor to end")
    assert running_cluster.status()["running"] is False
    up = running_cluster.up()
    assert up.returncode == 0, up.stdout + up.stderr


def test_ctrl_c_in_the_foreground_stops_everything(running_cluster: LocalCluster, scratch: Path) -> None:
    engines = {
        f"LAMBDAD_{name}": value
        for name, value in running_cluster.environment().items()
        if name.startswith("KAFKA_") or name == "DATABASE_URL"
    }
    second = LocalCluster(scratch / "data", choose({running_cluster.port}))
    argv = [sys.executable, "-m", "deploy.local.cli", "up", "--engines-only", "--port", str(second.port), "--data-dir"]
    with subprocess.Popen(
        [*argv, str(second.data_dir)],
        cwd=CHECKOUT,
        env=clean_environment() | engines,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as up:
        wait_until(lambda: second.status()["ready"], deadline_s=30)
        processes = [psutil.Process(up.pid), *psutil.Process(up.pid).children(recursive=True)]
        assert len(processes) == 2
        up.send_signal(signal.SIGINT)
        output, _ = up.communicate(timeout=30)
    assert up.returncode == 0, output
    assert "Traceback" not in output
    assert gone(processes)


def test_down_without_a_cluster_says_so(scratch: Path) -> None:
    down = run_lambdad("down", "--data-dir", str(scratch / "none"))
    assert down.returncode == 0
    assert "No cluster runs" in down.stdout
    environment = run_lambdad("env", "--data-dir", str(scratch / "none"))
    assert environment.returncode == 2
    assert "Traceback" not in environment.stderr
