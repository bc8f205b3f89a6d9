"""What a zygote does to its memory, each in an interpreter of its own: what is done there stays."""

from __future__ import annotations

import subprocess
import sys

import pytest

HOLES = """
from services.worker.zygote import dense
crowd = [bytes({size} - 33) for _ in range(20_000)]
del crowd[::{every}]
dense.fill_holes()
made = [bytes({size} - 33) for _ in range(40)]
print(len({{page for each in made for page in range(id(each) // 4096, (id(each) + {size} - 1) // 4096 + 1)}}))
"""
GATHERED = """
import sys, types
from services.worker.zygote import dense

def outer(n, *, more=1):
    def inner():
        return n + more
    return [x for x in range(n)], inner(), sorted((3, 1, n), key=lambda each: -each)

def generated():
    try:
        yield from (1, 2)
        raise KeyError("gone")
    except KeyError as error:
        yield str(error), sys.exc_info()[0].__name__

def untouched():
    return 5

before, other, module = outer.__code__, untouched.__code__, sys.modules[__name__]
calm = types.ModuleType("calm")
exec("def quiet():\\n    return 6\\n", calm.__dict__)
calm.quiet.__module__ = "calm"
quiet = calm.quiet.__code__
answers = outer(4), list(generated())
dense.gather_code(lambda: (outer(4), list(generated())), {"calm"})
assert outer.__code__ is not before and outer.__code__ == before
assert untouched.__code__ is other
assert calm.quiet.__code__ is not quiet and calm.quiet() == 6
for _ in range(100):
    assert answers == (outer(4), list(generated())), answers
try:
    outer("text")
except TypeError as error:
    line = error.__traceback__.tb_next.tb_lineno
    assert line == before.co_firstlineno + 3, line
print("same")
"""


def run(source: str) -> str:
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("size", [48, 208, 1_600, 9_000])
def test_objects_made_after_the_holes_are_filled_lie_beside_each_other(size: int) -> None:
    """In few pages, so. What a test's interpreter does besides makes for some more."""
    pages = int(run(HOLES.format(size=size, every=max(4, 4_096 // size))))
    assert pages <= 40 * (size + 16) / 4_096 + 8


def test_functions_whose_code_is_gathered_do_what_they_did() -> None:
    assert run(GATHERED) == "same"
