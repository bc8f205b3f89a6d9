"""What `lambdad up` and `lambdad status` say."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from deploy.local.layout import DataDir
from deploy.local.runtimes import example_runtime
from deploy.local.state import ChildState, ClusterState
from shared.domain.runtimes import how_to_install

NO_AUTH = (
    "WARNING: --no-auth: requests are NOT authenticated. Whoever can reach this machine's loopback interface can run code here."
)
SHORT_EXIT_CHARACTERS = 160


def program(name: str) -> str:
    """How a person at this directory calls one of our programs."""
    beside = Path(sys.executable).with_name(name)
    if not beside.exists():
        return name
    try:
        return shlex.quote(str(beside.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(beside))


def data_dir_option(data: DataDir) -> str:
    """The option that names this data directory, empty for the default one."""
    if data.root == Path(".lambdad").absolute():
        return ""
    return f" --data-dir {shlex.quote(str(data.root))}"


def ready(data: DataDir, state: ClusterState) -> str:
    option = data_dir_option(data)
    return f"""
lambdad is ready: {state.endpoint}  (region {state.region}, account {state.account_id})
{"" if state.auth else chr(10) + NO_AUTH + chr(10)}
Try it:

  eval "$({program("lambdad")} env{option})"
  echo 'def handler(event, context): return {{"hello": event["name"]}}' > hello.py
  {program("python")} -m zipfile -c hello.zip hello.py
  {program("aws")} lambda create-function --function-name hello --runtime {example_runtime()} --handler hello.handler \\
      --role arn:aws:iam::{state.account_id}:role/lambda --zip-file fileb://hello.zip
  {program("aws")} lambda wait function-active-v2 --function-name hello
  echo '{{"name": "world"}}' > event.json
  {program("aws")} lambda invoke --function-name hello --payload fileb://event.json answer.json && cat answer.json

Stop it with: {program("lambdad")} down{option}
"""


def status(data: DataDir, state: ClusterState | None, *, running: bool) -> str:
    if state is None:
        return f"No cluster was ever started in {data.root}."
    if not running:
        reason = f" The last start failed:\n{state.failure}" if state.failure else ""
        return f"The cluster in {data.root} is not running.{reason}"
    lines = [
        f"{state.endpoint}  {state.phase}  (supervisor {state.supervisor_pid}, since {state.started_at}, data in {data.root})"
    ]
    if not state.auth:
        lines.append(NO_AUTH)
    lines.append(f"{'NAME':<12} {'STATE':<11} {'PID':>8} {'PORT':>6} {'RESTARTS':>9}  NOTE")
    for child in state.children:
        notes = []
        if child.problem:
            notes.append(child.problem)
        if child.weaker:
            notes.append(child.weaker)
        if child.last_exit:
            notes.append("last: " + " ".join(child.last_exit.split())[:SHORT_EXIT_CHARACTERS])
        pid = str(child.pid or "-") if child.state is not ChildState.EXTERNAL else "-"
        row = f"{child.name:<12} {child.state:<11} {pid:>8} {child.port or '-':>6} {child.restarts:>9}  {'; '.join(notes)}"
        lines.append(row.rstrip())
    return "\n".join(lines)


def runtimes(here: list[str], addable: list[str], others: list[str]) -> str:
    """others: what functions can be created with, and run on once a worker has it by other means, if at all."""
    width = max(map(len, (*here, *addable, *others)))
    lines = [f"{name:<{width}}  runs here" for name in here]
    lines += [f"{name:<{width}}  {program('lambdad')} runtimes install {name}" for name in addable]
    lines += [f"{name:<{width}}  {how_to_install(name)}" for name in others]
    return "\n".join(lines)
