"""Families of runtimes: a folder each, and nothing outside knows one."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import botocore.session
import pytest
from pydantic import SecretStr

from services.worker.main import _variables
from services.worker.runtimes import catalogue as catalogue_module
from services.worker.runtimes.catalogue import Catalogue
from services.worker.runtimes.contract import RuntimeFamily, UnsupportedRuntimeError
from services.worker.runtimes.ruby.family import RubyFamily
from services.worker.runtimes.variables import function_variables
from services.worker.sandbox import mounts
from services.worker.sandbox.network.addresses import ENDPOINT_URL
from services.worker.sandbox.spec import SandboxSpec
from shared.dispatch.cell.worker_record import WorkerRecord, decode
from shared.domain.runtimes import RUNTIMES_DEPRECATED, RUNTIMES_OFFERED
from shared.settings import FunctionSettings, NetworkSettings, Settings, WorkerSettings
from tests.unit.worker.specs import version

if TYPE_CHECKING:
    from services.worker.telemetry.environment_log import LogSink

WORKER = Path(catalogue_module.__file__).parents[1]
NAMES = ["python", "nodejs", "ruby", "java", "provided"]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(WorkerSettings())


def sandbox_spec(folder: Path, **variables: str) -> SandboxSpec:
    return SandboxSpec("app.handler", variables, folder, None, 128, 512, version())


def variables_of(family: RuntimeFamily, runtime: str, endpoint_url: str | None = None, **own: str) -> dict[str, str]:
    return function_variables(
        family,
        version(runtime=runtime, environment=own),
        log_stream="stream",
        access_key_id="id",
        secret_access_key="secret",
        session_token="token",
        endpoint_url=endpoint_url,
    )


@pytest.mark.parametrize(
    ("runtime", "name", "pool"),
    [
        ("python3.8", "python", "python3.8"),
        ("python3.14", "python", "python3.14"),
        ("nodejs20.x", "nodejs", "nodejs20.x"),
        ("nodejs24.x", "nodejs", "nodejs24.x"),
        ("ruby3.4", "ruby", "ruby3.4"),
        ("java25", "java", "java25"),
        ("provided", "provided", "provided"),
        ("provided.al2023", "provided", "provided"),
    ],
)
def test_every_runtime_has_one_family_and_one_pool(catalogue: Catalogue, runtime: str, name: str, pool: str) -> None:
    family = catalogue.family(runtime)
    assert (family.name, family.pool(runtime)) == (name, pool)
    assert [other.name for other in catalogue._families if other.serves(runtime)] == [name]


@pytest.mark.parametrize("runtime", ["python", "python3", "python3.12x", "nodejs", "nodejs20", "providedx", "java8.al2", ""])
def test_a_runtime_of_no_family_is_refused_and_the_families_are_named(catalogue: Catalogue, runtime: str) -> None:
    with pytest.raises(UnsupportedRuntimeError, match=f"^{runtime} is not .* {', '.join(NAMES)}$"):
        catalogue.recipe(runtime)
    assert not catalogue.supports(runtime)


def test_a_worker_says_what_it_can_run(catalogue: Catalogue) -> None:
    able = catalogue.capabilities()
    assert {"provided.al2", "provided.al2023"} <= set(able.runtimes)
    assert not {runtime for runtime in able.runtimes if runtime.startswith(("java8", "dotnet"))}
    assert all(catalogue.supports(runtime) == (runtime in able.runtimes) for runtime in RUNTIMES_OFFERED)
    assert able.architecture in ("x86_64", "arm64")
    record = WorkerRecord("10.0.0.1:9100", 20, able)
    assert decode(record.encode().encode()) == record


def test_every_runtime_of_the_service_model_is_offered_or_deprecated() -> None:
    model = botocore.session.get_session().get_service_model("lambda")
    modelled = set(model.shape_for("Runtime").enum)
    assert modelled - {"custom"} <= {*RUNTIMES_OFFERED, *RUNTIMES_DEPRECATED}
    assert not set(RUNTIMES_OFFERED) & RUNTIMES_DEPRECATED


def test_what_is_installed_can_be_made(catalogue: Catalogue) -> None:
    assert "provided.al2023" in catalogue.installed()
    for runtime in catalogue.installed():
        recipe = catalogue.recipe(runtime)
        assert recipe.pool == catalogue.family(runtime).pool(runtime)
        assert not runtime.startswith("python3.") or recipe.interpreter.name == runtime


@pytest.mark.parametrize("runtime", ["nodejs18.x", "nodejs24.x", "python3.9"])
def test_a_runtime_whose_interpreter_is_of_another_version_is_refused_with_the_command_that_installs_it(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "node"
    node.write_text("#!/bin/sh\necho v20.1.0\n")
    node.chmod(0o755)
    for name, value in {"PATH": tmp_path, "HOME": tmp_path, "PYENV_ROOT": tmp_path, "NVM_DIR": tmp_path}.items():
        monkeypatch.setenv(name, str(value))
    catalogue = Catalogue(WorkerSettings(runtime_dir=tmp_path))
    assert catalogue.supports("nodejs20.x")
    assert runtime not in catalogue.installed()
    with pytest.raises(UnsupportedRuntimeError, match=rf"^{runtime} is not installed .*lambdad runtimes install {runtime}`"):
        catalogue.recipe(runtime)


@pytest.mark.parametrize("layers", ["", "elsewhere"])
def test_a_ruby_where_layers_will_lie_is_told_where_its_libraries_are(
    layers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "versions" / "3.4.1"
    for folder in ("bin", "lib/ruby/site_ruby/3.4.0", "lib/ruby/3.4.0/x86_64-linux"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "lib/ruby/3.4.0/x86_64-linux/rbconfig.rb").touch()
    (prefix / "bin/ruby").write_text("#!/bin/sh\nprintf ruby3.4\n")
    (prefix / "bin/ruby").chmod(0o755)
    monkeypatch.setenv("RBENV_ROOT", str(tmp_path))
    monkeypatch.setattr(mounts, "LAYERS", str(tmp_path / layers))
    command = RubyFamily().recipe("ruby3.4").argv
    places = ("site_ruby/3.4.0", "3.4.0", "3.4.0/x86_64-linux")
    flags = [] if layers else [f"-I/var/lang/lib/ruby/{place}" for place in places]
    assert command == ("/var/lang/bin/ruby", *flags, "/var/runtime/bootstrap.rb", "prepared")


def test_a_function_may_override_what_its_family_sets_but_not_what_the_platform_sets(catalogue: Catalogue) -> None:
    own = dict.fromkeys(("PYTHONPATH", "NODE_PATH", "GEM_PATH", "AWS_EXECUTION_ENV"), "mine")
    found = {}
    for runtime in ("python3.12", "nodejs20.x", "ruby3.4", "java21", "provided.al2"):
        family = catalogue.family(runtime)
        found[family.name] = variables_of(family, runtime, **own)
    assert [found[name]["AWS_EXECUTION_ENV"] for name in NAMES] == [
        "AWS_Lambda_python3.12", "AWS_Lambda_nodejs20.x", "AWS_Lambda_ruby3.4", "AWS_Lambda_java21", "mine",
    ]  # fmt: skip
    assert [found[name][path] for name, path in (("python", "PYTHONPATH"), ("nodejs", "NODE_PATH"), ("ruby", "GEM_PATH"))] == [
        "mine", "mine", "mine",
    ]  # fmt: skip
    plain = variables_of(catalogue.family("nodejs20.x"), "nodejs20.x")
    assert plain["NODE_PATH"].startswith("/opt/nodejs/node20/node_modules:/opt/nodejs/node_modules:")
    assert "PYTHONPATH" not in plain


def test_the_endpoint_is_told_unless_the_function_has_another_or_the_cluster_tells_none(catalogue: Catalogue) -> None:
    for runtime in ("python3.14", "nodejs24.x", "provided.al2023"):
        family = catalogue.family(runtime)
        assert "AWS_ENDPOINT_URL" not in variables_of(family, runtime)
        assert variables_of(family, runtime, ENDPOINT_URL)["AWS_ENDPOINT_URL"] == "http://169.254.100.2:9000"
        own = variables_of(family, runtime, ENDPOINT_URL, AWS_ENDPOINT_URL="http://10.0.0.1")
        assert own["AWS_ENDPOINT_URL"] == "http://10.0.0.1"


@pytest.mark.parametrize(("told", "found"), [(True, ENDPOINT_URL), (False, None)])
def test_the_cluster_decides_whether_functions_are_told_the_endpoint(
    catalogue: Catalogue, told: bool, found: str | None
) -> None:
    settings = Settings(cluster_secret=SecretStr("secret"), functions=FunctionSettings(endpoint_variable=told))
    log = cast("LogSink", SimpleNamespace(name="stream"))
    assert _variables(catalogue, settings, version(runtime="python3.14"), log).get("AWS_ENDPOINT_URL") == found


@pytest.mark.parametrize(
    ("more", "own"),
    [
        ({"network": NetworkSettings(kind="none")}, {}),
        ({"worker": WorkerSettings(isolation="rootless")}, {}),
        ({}, {"LAMBDAD_NETWORK": "none"}),
    ],
)
def test_a_function_without_a_network_is_not_told_of_an_endpoint_that_it_cannot_reach(
    catalogue: Catalogue, more: dict[str, Any], own: dict[str, str]
) -> None:
    settings = Settings(cluster_secret=SecretStr("secret"), **more)
    log = cast("LogSink", SimpleNamespace(name="stream"))
    spec = version(runtime="python3.14", environment=own)
    assert "AWS_ENDPOINT_URL" not in _variables(catalogue, settings, spec, log)
    named = version(runtime="python3.14", environment={**own, "AWS_ENDPOINT_URL": "http://localhost:8000"})
    assert _variables(catalogue, settings, named, log)["AWS_ENDPOINT_URL"] == "http://localhost:8000"


def test_a_wrapper_starts_the_program_that_would_have_served(catalogue: Catalogue, tmp_path: Path) -> None:
    for runtime in [*catalogue.installed()[:1], *(["nodejs20.x"] if catalogue.supports("nodejs20.x") else [])]:
        recipe = catalogue.recipe(runtime)
        assert recipe.family.programs(recipe, sandbox_spec(tmp_path)) == []
        assert recipe.family.programs(recipe, sandbox_spec(tmp_path, AWS_LAMBDA_EXEC_WRAPPER="")) == []
        ((wrapper, *command),) = recipe.family.programs(recipe, sandbox_spec(tmp_path, AWS_LAMBDA_EXEC_WRAPPER="/w"))
        assert wrapper == "/w"
        assert len(command) >= 2


def test_a_custom_runtime_without_a_program_is_told_so(catalogue: Catalogue, tmp_path: Path) -> None:
    recipe = catalogue.recipe("provided.al2023")
    spec = sandbox_spec(tmp_path)
    missing = recipe.family.missing_entrypoint(spec)
    assert missing is not None
    assert missing[0] == "Runtime.InvalidEntrypoint"
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    (tmp_path / "bootstrap").chmod(0o755)
    assert recipe.family.missing_entrypoint(spec) is None
    assert recipe.family.programs(recipe, spec) == [["/var/task/bootstrap"], ["/opt/bootstrap"]]


def test_no_module_outside_the_families_folders_names_a_family() -> None:
    for path in WORKER.rglob("*.py"):
        if path.is_relative_to(WORKER / "runtimes") and path.parent != WORKER / "runtimes":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not node.value.startswith(("python3", "nodejs")), f"{path}:{node.lineno}"
                assert node.value not in NAMES, f"{path}:{node.lineno}"
