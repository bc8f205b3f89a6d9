from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from services.worker.sandbox import sleeper

SOURCES = Path(sleeper.__file__).parent / "sleeper_source"
TOOLS = {"x86_64": "", "aarch64": "aarch64-linux-gnu-"}
HEADERS_BYTES = 64 + 56


@pytest.mark.parametrize(
    "machine",
    [
        pytest.param("x86_64", marks=pytest.mark.needs("as", "objcopy")),
        pytest.param("aarch64", marks=pytest.mark.needs("aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy")),
    ],
)
def test_the_program_is_what_its_source_says(machine: str, tmp_path: Path) -> None:
    if machine == "x86_64" and os.uname().machine != machine:
        pytest.skip("the assembler here is of another architecture")
    made, code = tmp_path / "made.o", tmp_path / "code"
    tool = TOOLS[machine]
    subprocess.run([f"{tool}as", SOURCES / f"{machine}.s", "-o", made], check=True, timeout=30)
    subprocess.run([f"{tool}objcopy", "-O", "binary", "-j", ".text", made, code], check=True, timeout=30)
    assert sleeper.program(machine)[HEADERS_BYTES:] == code.read_bytes()


def test_an_architecture_without_a_program_is_refused() -> None:
    with pytest.raises(OSError, match="not supported"):
        sleeper.program("riscv64")


def test_only_root_may_execute_it_and_nobody_may_change_it(tmp_path: Path) -> None:
    path = tmp_path / "sleeper"
    sleeper.write(str(path))
    assert path.stat().st_mode & 0o777 == 0o500
    assert path.read_bytes() == sleeper.program(os.uname().machine)
