from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from deploy.local import messages
from deploy.local.layout import DataDir
from deploy.local.state import ClusterState
from docs import metrics_reference, settings_reference
from docs.state_machines import TARGET, render
from shared.settings import Settings
from tests.bench.__main__ import NAMES as BENCHMARKS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("deploy/**/*.md")])

FOR_USERS = ("README.md", "CHANGELOG.md", "functions.md", "packaging.md", "troubleshooting.md", "upgrade.md")
NAMES_FILES = [page for page in PAGES if page.parent in (ROOT, ROOT / "docs") and page.name not in FOR_USERS]
"""Pages that speak of the project's own files; the others show what users write."""
FOLDERS = (".ci", "deploy", "docs", "examples", "newsfragments", "requirements", "services", "shared", "tests")
FILE = re.compile(r"[\w.@*<>|-]+(/[\w.@*<>|-]+)*/?")
SUFFIXES = (".py", ".lua", ".yaml", ".yml", ".toml", ".md", ".mjs", ".sh", ".txt", ".lock")


def test_the_pictures_of_the_state_machines_are_those_of_the_code() -> None:
    assert TARGET.read_text() == render(), "run `make docs`"


def test_the_settings_page_is_that_of_the_code() -> None:
    assert settings_reference.TARGET.read_text() == settings_reference.render(), "run `make docs`"


ROWS = [row for section in settings_reference.sections() for row in section.rows]


def test_every_setting_says_what_it_is_for() -> None:
    assert len(ROWS) > 80
    assert [row.variable for row in ROWS if not row.description] == []
    assert [section.title for section in settings_reference.sections() if not section.about] == []


def test_the_variables_of_the_settings_page_are_those_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each default, given by the variable that the page names, changes nothing; another value of the same kind does."""
    plain = Settings()
    for row in ROWS:
        if "<NAME>" not in row.variable and row.default not in ("none", "must be given"):
            monkeypatch.setenv(row.variable, row.default.strip("`"))
    assert Settings() == plain
    by_variable = {row.variable: row for row in ROWS}
    for variable, value in (
        ("LAMBDAD_DISPATCH__STICKY_MS", "7"),
        ("DATABASE_URL", "postgresql://x"),
        ("LAMBDAD_REGION", "eu-west-1"),
    ):
        assert variable in by_variable
        monkeypatch.setenv(variable, value)
    assert (Settings().dispatch.sticky_ms, Settings().database_url, Settings().region) == (7, "postgresql://x", "eu-west-1")


def test_every_variable_that_starting_a_cluster_reads_is_on_the_settings_page() -> None:
    page = settings_reference.TARGET.read_text()
    sources = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".py", ".sh")] + [ROOT / "docker-compose.yml"]
    named = {name for path in sources for name in re.findall(r"LAMBDAD_[A-Z0-9_]*[A-Z0-9]", path.read_text())}
    assert len(named) > 20
    assert sorted(name for name in named if name not in page) == []


def test_the_metrics_page_is_that_of_the_code() -> None:
    assert metrics_reference.TARGET.read_text() == metrics_reference.render(), "run `make docs`"


def test_every_metric_that_a_service_registers_is_on_the_metrics_page() -> None:
    for service in (ROOT / "services").glob("*/main.py"):
        importlib.import_module(f"services.{service.parent.name}.main")
    families = [family for family in REGISTRY.collect() if family.name.startswith("lambdad_")]
    scraped = {family.name + {"counter": "_total", "histogram": "_bucket"}.get(family.type, "") for family in families}
    assert len(scraped) > 40
    assert scraped - {metric.name for metric in metrics_reference.metrics()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_that_names_a_file_leads_to_that_file(page: Path) -> None:
    for text, target in re.findall(r"\[([\w./-]+)\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        if text.endswith(SUFFIXES) or text.endswith("/"):
            assert target.strip("/").endswith(text.strip("/")), f"{page.name}: {text} leads to {target}"


@pytest.fixture(scope="module")
def paths() -> list[str]:
    """Every file and folder of the project, as /services/frontend/main.py, folders with a / behind them."""
    files = [path for path in ROOT.iterdir() if path.is_file()]
    files += [
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    named = [path.relative_to(ROOT) for path in files]
    folders = {folder for path in named for folder in path.parents}
    return [f"/{path.as_posix()}" for path in named] + [f"/{folder.as_posix()}/" for folder in folders]


@pytest.mark.parametrize("page", NAMES_FILES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_a_page_names_is_there(page: Path, paths: list[str]) -> None:
    """As `shared/domain/errors.py`, or by the end of its path: `frontend/invoke`, `launch.py`, `lua/*.lua`."""
    assert [name for name in named_files(page.read_text()) if not is_there(name, paths)] == []


def named_files(text: str) -> list[str]:
    """What stands in backticks and looks like a file or folder; the steps of a walk (`a -> b (why) -> c`) one by one."""
    found = []
    for span in re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)):
        for step in span.replace("\n", " ").split("->"):
            name = re.sub(r"\(.*?\)", "", step).strip()
            if FILE.fullmatch(name) and ("/" in name or name.endswith(SUFFIXES)):
                found.append(name)
    return found


def is_there(name: str, paths: list[str]) -> bool:
    pattern = re.sub(r"\\\*|<[^>]*>", "[^/]*", re.escape(name.rstrip("/")).replace(r"\|", "|"))
    ending = "/" if name.endswith("/") else r"(\.py|/)?"
    return any(re.search(rf"/{pattern}{ending}$", path) for path in paths)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("shared/domain/errors.py", True),
        ("frontend/main", True),
        ("errors.py", True),
        ("main", True),
        ("services/<name>/", True),
        ("lua/*.lua", True),
        ("shared/domain/mistakes.py", False),
        ("frontend/errors.py", False),
        ("rors.py", False),
        ("shared/domain/errors.py/", False),
    ],
)
def test_a_name_is_a_whole_ending_of_a_path(name: str, there: bool, paths: list[str]) -> None:
    assert is_there(name, paths) is there
    assert named_files(f"see `x -> {name} (why)`") == ([name] if "/" in name or name.endswith(SUFFIXES) else [])


def test_the_index_leads_to_every_page() -> None:
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs/README.md").read_text()))
    assert named == {page.name for page in ROOT.glob("docs/*.md")} - {"README.md"}


OF_OTHERS = {
    "Could not connect to the endpoint URL",
    "ENOTFOUND lambda.us-east-1.amazonaws.com",
    "Invalid base64",
    "Name or service not known",
    "Network is unreachable",
    "No route to host",
    "Temporary failure in name resolution",
    "Read-only file system",
    "Runtime.ImportModuleError",
    "Unable to import module",
    "GLIBC_2.xx not found",
    "Exec format error",
    "No such file or directory",
}
"""What clients, the kernel and runtimes say."""


def test_the_messages_that_the_troubleshooting_page_explains_are_said_here() -> None:
    code = " ".join(path.read_text() for folder in ("services", "shared", "deploy") for path in (ROOT / folder).rglob("*.py"))
    said = re.sub(r"\{[^}]*\}", "...", re.sub(r'"\s+f?"', "", code))
    page = (ROOT / "docs/troubleshooting.md").read_text()
    quoted = {span for row in re.findall(r"^\| ([^|]+) \|", page, re.MULTILINE) for span in re.findall(r"`([^`]+)`", row)}
    assert len(quoted) > 20
    parts = {
        part.strip()
        for span in quoted - OF_OTHERS
        for part in re.split(r"\.\.\.|9000|127\.0\.0\.1|3\.00", span)
        if part.strip()
    }
    assert sorted(part for part in parts if part not in said) == []


def test_every_promise_names_what_holds_it() -> None:
    held = (ROOT / "SPECIFICATION.md").read_text().partition("\n## Performance")[0]
    rows = [
        line
        for line in held.splitlines()
        if line.startswith("| ") and not line.startswith("| promise") and "held by" not in line
    ]
    assert len(rows) > 50
    for row in rows:
        last = row.rstrip("| ").rpartition(" | ")[2]
        assert re.search(r"\]\(tests/|`make \w|\[test pending\]", last), f"nothing holds: {row}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_setting_that_a_page_names_is_one(page: Path) -> None:
    elsewhere = "".join(path.read_text() for path in (ROOT / "deploy").rglob("*") if path.suffix in (".py", ".sh"))
    elsewhere += (ROOT / "docker-compose.yml").read_text()
    for name in re.findall(r"LAMBDAD_[A-Z0-9_]*[A-Z0-9]", page.read_text()):
        assert is_setting(name) or name in elsewhere, f"{page.name} names {name}"


def is_setting(name: str) -> bool:
    """Whether a variable is read by the settings tree; what is in a dict has names of its own."""
    fields = Settings.model_fields
    for step in name.removeprefix("LAMBDAD_").lower().split("__"):
        if step not in fields:
            return False
        inner = fields[step].annotation
        if not hasattr(inner, "model_fields"):
            return True
        fields = inner.model_fields
    return True


def test_a_setting_is_found_by_its_variable() -> None:
    assert is_setting("LAMBDAD_FUNCTIONS__TIMEOUT_S_MAX")
    assert is_setting("LAMBDAD_EVENTS__KAFKA_CLUSTERS__PROD")
    assert not is_setting("LAMBDAD_FUNCTIONS__TIMEOUT_MAX")
    assert not is_setting("LAMBDAD_NOTHING")


def test_the_readme_counts_what_the_conformance_page_counts() -> None:
    report, readme = (ROOT / "docs/conformance.md").read_text(), (ROOT / "README.md").read_text()
    row = re.search(r"\[Lambda\]\S* \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", report)
    assert row is not None
    assert row[1] == row[2]
    assert f"all {row[1]} operations of Lambda's model" in readme
    assert f"of {row[3]} behaviours recorded from AWS, {row[4]} are met exactly" in readme
    assert f"{row[3]} recorded behaviours" in (ROOT / "SPECIFICATION.md").read_text()


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


def test_make_help_lists_every_target_and_names_a_benchmark_that_there_is() -> None:
    makefile = (ROOT / "Makefile").read_text()
    listed = dict(re.findall(r"^([a-z-]+):.*?## (.*)$", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(listed) == set(phony[1].split())
    named = re.search(r"NAME=(\S+)", listed["bench"])
    assert named is not None
    assert named[1] in BENCHMARKS
