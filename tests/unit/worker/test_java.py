"""How the JVMs of Java functions are found and started."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.java import options
from services.worker.runtimes.java.family import JavaFamily, short_name
from services.worker.runtimes.java.virtual_machines import WHEEL, find_virtual_machines

DEFAULTS = [
    "-XX:MaxHeapSize=445644K",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:SharedArchiveFile=/a",
    "-classpath",
    "x",
]


@pytest.fixture(autouse=True)
def no_other_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("services.worker.runtimes.java.virtual_machines.SYSTEM", tmp_path / "jvm")


def java(program: Path, version: str) -> Path:
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "openjdk {version} 2025-07-15"\n')
    program.chmod(0o755)
    return program.parent.parent


def test_a_java_is_the_runtime_of_the_version_that_it_says(tmp_path: Path) -> None:
    fetched = java(tmp_path / "runtimes" / "java21" / WHEEL, "21.0.8")
    java(tmp_path / "jvm" / "java-1.21.0" / "bin" / "java", "21.0.1")
    seventeen = java(tmp_path / "jvm" / "misnamed-11" / "bin" / "java", "17.0.15")
    java(tmp_path / "java", "22.0.1")
    found = find_virtual_machines(tmp_path / "runtimes")
    assert {runtime: machine.home for runtime, machine in found.items()} == {"java17": seventeen, "java21": fetched}
    assert found["java17"].full_version.startswith("openjdk 17.0.15 ")


def test_settings_that_a_java_links_to_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.worker.runtimes.java.virtual_machines._ETC", tmp_path / "etc")
    target = tmp_path / "etc" / "java-17" / "security" / "java.security"
    target.parent.mkdir(parents=True)
    target.touch()
    home = java(tmp_path / "jvm" / "seventeen" / "bin" / "java", "17.0.15")
    (home / "conf" / "security").mkdir(parents=True)
    (home / "conf" / "security" / "java.security").symlink_to(target)
    assert find_virtual_machines(tmp_path)["java17"].settings == ("java-17",)


def test_without_a_java_or_its_client_the_text_says_the_command(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedRuntimeError, match=r"java21 is not installed.*`lambdad runtimes install java21`"):
        JavaFamily(tmp_path).recipe("java21")
    java(tmp_path / "java21" / WHEEL, "21.0.8")
    with pytest.raises(UnsupportedRuntimeError, match=r"client of java21 is missing.*`lambdad runtimes install java21`"):
        JavaFamily(tmp_path).recipe("java21")


@pytest.mark.parametrize(
    ("own", "left_out"),
    [
        ("", []),
        ("-Dx=-Xmx", []),
        ("-verbose -Xmx64m", [0]),
        ("-XX:MaxRAMPercentage=70", [0]),
        ("-XX:+UseG1GC", [1]),
        ("-XX:+TieredCompilation -XX:TieredStopAtLevel=4", [2]),
        ("-Xshare:off -XX:+UseZGC", [1, 3]),
    ],
)
def test_options_of_the_function_take_the_place_of_the_runtimes(own: str, left_out: list[int]) -> None:
    expected = [option for number, option in enumerate(DEFAULTS) if number not in left_out]
    assert options.without_those_of(own, DEFAULTS) == expected


def test_the_heap_is_a_share_of_the_memory() -> None:
    assert options.heap(512) == DEFAULTS[0]


@pytest.mark.parametrize(
    ("file", "name"),
    [("aws-lambda-java-core-1.4.0.jar", "aws-lambda-java-core.jar"), ("utils-lite-2.34.0-rc1.jar", "utils-lite.jar")],
)
def test_jars_of_the_runtime_have_no_version_in_their_names(file: str, name: str) -> None:
    assert short_name(Path(file)) == name
