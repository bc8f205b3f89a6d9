from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.local import messages
from deploy.local.layout import DataDir
from deploy.local.state import ClusterState
from docs.state_machines import TARGET, render

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("deploy/**/*.md")])


def test_the_pictures_of_the_state_machines_are_those_of_the_code() -> None:
    assert TARGET.read_text() == render(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_shows_what_make_up_says(tmp_path: Path) -> None:
    data = DataDir(Path(".lambdad").absolute())
    said = messages.ready(data, ClusterState(endpoint="http://127.0.0.1:9000"))
    shown = re.search(r"```\n(lambdad is ready.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    kept = [line for line in words_of(said) if not line.startswith("Stop it with")]
    assert words_of(shown[1]) == kept


def words_of(text: str) -> list[str]:
    """Its lines that say something, whichever Python they name and wherever our programs are."""
    named = re.sub(r"python3\.\d+", "PYTHON", text)
    return [
        line.strip()
        for line in re.sub(r"(?<=[\s(])\S*/(?=lambdad|python|aws)", ".venv/bin/", named).splitlines()
        if line.strip()
    ]
