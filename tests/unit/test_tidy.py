"""The few rules of style that a machine can check. They hold for the product, not for its tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 90
MAY_PRINT = ("deploy/local/", "deploy/docker/", "services/worker/zygote/", "services/worker/runtimes/python/inside/")
NEEDS_A_DEADLINE = {"open_connection", "create_connection", "open_unix_connection", "create_unix_connection"}
QUEUES = {"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"}


@dataclass(frozen=True)
class Source:
    """A file of the product. nodes: of its whole tree."""

    name: str
    text: str
    nodes: list[ast.AST]

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    @property
    def calls(self) -> Iterator[ast.Call]:
        return (node for node in self.nodes if isinstance(node, ast.Call))


@pytest.fixture(scope="module")
def sources() -> list[Source]:
    paths = sorted(path for folder in ("services", "shared", "deploy") for path in (ROOT / folder).rglob("*.py"))
    assert len(paths) > 500
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}
    return [Source(name, text, list(ast.walk(ast.parse(text)))) for name, text in texts.items()]


def called(node: ast.Call) -> str:
    target = node.func
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def test_files_stay_short_enough_to_be_read_whole(sources: list[Source]) -> None:
    long = [source.name for source in sources if source.text.count("\n") > FILE_LINES_MAX]
    assert long == [], f"with more than {FILE_LINES_MAX} lines a file has two reasons to change"


def test_functions_fit_on_a_screen(sources: list[Source]) -> None:
    long = [
        f"{source.name}: {function.name}"
        for source in sources
        for function in source.functions
        if (function.end_lineno or function.lineno) - function.lineno > FUNCTION_LINES_MAX
    ]
    assert long == [], f"these are longer than {FUNCTION_LINES_MAX} lines"


def test_every_queue_has_a_bound(sources: list[Source]) -> None:
    unbounded = [
        f"{source.name}:{node.lineno}"
        for source in sources
        for node in source.calls
        if called(node) in QUEUES and not node.args and not any(keyword.arg == "maxsize" for keyword in node.keywords)
    ]
    assert unbounded == []


def test_nothing_prints_but_the_command_line(sources: list[Source]) -> None:
    printing = [
        f"{source.name}:{node.lineno}"
        for source in sources
        for node in source.calls
        if not source.name.startswith(MAY_PRINT)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and "noqa: T201" not in source.text.splitlines()[(node.end_lineno or node.lineno) - 1]
    ]
    assert printing == []


def test_connections_are_opened_under_a_deadline(sources: list[Source]) -> None:
    endless = [
        f"{source.name}:{node.lineno}"
        for source in sources
        for timed in [_timed(source)]
        for node in source.nodes
        if isinstance(node, ast.Await)
        and isinstance(node.value, ast.Call)
        and called(node.value) in NEEDS_A_DEADLINE
        and id(node) not in timed
    ]
    assert endless == []


def _timed(source: Source) -> set[int]:
    """Ids of the nodes inside of something that ends after a time."""
    found: set[int] = set()
    for node in source.nodes:
        within = isinstance(node, ast.AsyncWith) and any("timeout" in ast.unparse(item.context_expr) for item in node.items)
        if within or (isinstance(node, ast.Call) and called(node) == "wait_for"):
            found.update(id(inner) for inner in ast.walk(node))
    return found


def test_tasks_have_owners(sources: list[Source]) -> None:
    """One that nobody holds may vanish."""
    unheld = []
    for source in sources:
        for node in source.nodes:
            call = node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and called(call) in {"create_task", "ensure_future"}:
                owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
                if "group" not in owner and "tasks" not in owner:
                    unheld.append(f"{source.name}:{call.lineno}")
    assert unheld == []


def test_tasks_that_never_end_are_supervised(sources: list[Source]) -> None:
    """shared/telemetry/supervision.py: what fails there is told and starts again."""
    unsupervised = []
    for source in sources:
        endless = {function.name for function in source.functions if any(_is_endless(node) for node in ast.walk(function))}
        for node in source.calls:
            starts = node.args[0] if called(node) == "create_task" and node.args else None
            if isinstance(starts, ast.Call) and called(starts) in endless:
                unsupervised.append(f"{source.name}:{node.lineno}")
    assert unsupervised == []


def _is_endless(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and not any(isinstance(inner, ast.Break | ast.Return) for inner in ast.walk(node))
    )
