"""No file imports, in however many steps, what imports it: at run time, in functions, and for types alone.

`make contracts` holds the same for folders, and the layers (pyproject.toml).
"""

from __future__ import annotations

import graphlib
import re
from pathlib import Path

import grimp
import pytest

PACKAGES = ("services", "shared", "deploy")


def circle_in(imports: dict[str, set[str]]) -> list[str] | None:
    """One circle, each file importing the next, the first again at the end; None when there is none."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return None


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)


def test_no_file_imports_what_imports_it(graph: grimp.ImportGraph) -> None:
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert len(imports) > 200, "the project's files were not found"
    circle = circle_in(imports)
    assert circle is None, " -> ".join(circle or [])


def test_architecture_says_of_each_part_of_shared_what_it_imports(graph: grimp.ImportGraph) -> None:
    text = (Path(__file__).resolve().parents[2] / "ARCHITECTURE.md").read_text()
    told = {
        part: {name.removeprefix("shared/") for name in re.findall(r"`([^`]+)`", may_import)}
        for part, may_import in re.findall(r"^\| `shared/(\w+)/` \|.*\| ([^|]*) \|$", text, re.MULTILINE)
    }
    parts = {module.removeprefix("shared."): module for module in graph.find_children("shared")}
    assert told == {
        part: {
            other
            for other, target in parts.items()
            if other != part and graph.direct_import_exists(importer=module, imported=target, as_packages=True)
        }
        for part, module in parts.items()
    }


@pytest.mark.parametrize(
    ("imports", "circle"),
    [
        ({"a": {"b"}, "b": {"c"}}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, {"a", "b", "c"}),
        ({"a": {"b"}, "b": {"b.c"}, "b.c": {"b"}}, {"b", "b.c"}),
    ],
)
def test_a_circle_is_found(imports: dict[str, set[str]], circle: set[str] | None) -> None:
    found = circle_in(imports)
    assert (None if found is None else set(found)) == circle
