"""The few rules of style that a machine can check. They hold for the product, not for its tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 90
MAY_PRINT = ("deploy/local/", "deploy/docker/", "services/worker/zygote/", "services/worker/runtimes/python/inside/")
NEEDS_A_DEADLINE = {"open_connection", "create_connection", "open_unix_connection", "create_unix_connection"}


def product_files() -> list[Path]:
    return sorted(p for folder in ("services", "shared", "deploy") for p in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module", params=product_files(), ids=name_of)
def source(request: pytest.FixtureRequest) -> tuple[str, str, ast.Module]:
    path: Path = request.param
    text = path.read_text()
    return name_of(path), text, ast.parse(text)


def called(node: ast.Call) -> str:
    target = node.func
    return target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_stay_short_enough_to_be_read_whole(source: tuple[str, str, ast.Module]) -> None:
    name, text, _ = source
    assert text.count("\n") <= FILE_LINES_MAX, f"{name} has more than {FILE_LINES_MAX} lines: it has two reasons to change"


def test_functions_fit_on_a_screen(source: tuple[str, str, ast.Module]) -> None:
    name, _, tree = source
    long = [f.name for f in functions(tree) if (f.end_lineno or f.lineno) - f.lineno > FUNCTION_LINES_MAX]
    assert not long, f"{name}: {long} are longer than {FUNCTION_LINES_MAX} lines"


def test_every_queue_has_a_bound(source: tuple[str, str, ast.Module]) -> None:
    name, _, tree = source
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in {"Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"}:
            assert node.args or any(k.arg == "maxsize" for k in node.keywords), f"{name}:{node.lineno}: a queue without a bound"


def test_nothing_prints_but_the_command_line(source: tuple[str, str, ast.Module]) -> None:
    name, _, tree = source
    if name.startswith(MAY_PRINT):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            lines = source[1].splitlines()
            assert "noqa: T201" in lines[(node.end_lineno or node.lineno) - 1], f"{name}:{node.lineno}: prints"


def test_connections_are_opened_under_a_deadline(source: tuple[str, str, ast.Module]) -> None:
    name, _, tree = source
    timed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith) and any("timeout" in ast.unparse(item.context_expr) for item in node.items):
            timed.update(id(inner) for inner in ast.walk(node))
        if isinstance(node, ast.Call) and called(node) == "wait_for":
            timed.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Await) and isinstance(node.value, ast.Call) and called(node.value) in NEEDS_A_DEADLINE:
            assert id(node) in timed, f"{name}:{node.lineno}: opens a connection without a deadline"


def test_tasks_have_owners(source: tuple[str, str, ast.Module]) -> None:
    name, _, tree = source
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Call)
            and called(node.value) in {"create_task", "ensure_future"}
        ):
            owner = node.value.func.value if isinstance(node.value.func, ast.Attribute) else None
            text = ast.unparse(owner) if owner is not None else ""
            assert "group" in text or "tasks" in text, f"{name}:{node.lineno}: a task that nobody holds may vanish"


def test_tasks_that_never_end_are_supervised(source: tuple[str, str, ast.Module]) -> None:
    """shared/telemetry/supervision.py: what fails there is told and starts again."""
    name, _, tree = source
    endless = {function.name for function in functions(tree) if any(_is_endless(node) for node in ast.walk(function))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "create_task" and node.args and isinstance(node.args[0], ast.Call):
            assert called(node.args[0]) not in endless, f"{name}:{node.lineno}: a task without end that nobody supervises"


def _is_endless(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and not any(isinstance(inner, ast.Break | ast.Return) for inner in ast.walk(node))
    )
