"""Which members of a group were processes of this machine that have ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shared.events.departed import is_gone, named
from tests.support import mortal, wait_until

NAMED = "from shared.events.departed import named; print(named('poller-async'), flush=True); input()"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", NAMED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=mortal()) as child:
        yield child
        child.kill()


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_process_is_gone_when_it_has_ended_and_not_when_it_stands_still(process: subprocess.Popen[str]) -> None:
    name = name_of(process)
    assert re.fullmatch(r"poller-async\.[0-9a-f]{8}-\d+-\d+-\d+", name)
    assert not is_gone(name)
    process.send_signal(signal.SIGSTOP)
    assert not is_gone(name)
    process.kill()
    wait_until(lambda: is_gone(name), what="it has ended, though nobody has asked how")
    process.wait()
    assert is_gone(name)


def test_another_process_of_the_same_number_is_not_taken_for_it() -> None:
    name = named("router")
    assert not is_gone(name)
    began = name.rpartition("-")[2]
    assert is_gone(name.removesuffix(began) + str(int(began) - 1)), "the number was given again"


def test_of_processes_elsewhere_and_of_others_members_nobody_can_tell(process: subprocess.Popen[str]) -> None:
    name = name_of(process)
    process.kill()
    process.wait()
    place = re.search(r"\.(\w{8}-\d+)-", name)
    assert place is not None
    for elsewhere in ("00000000-1", f"{place[1]}0"):
        assert not is_gone(name.replace(place[1], elsewhere))
    assert not is_gone("somebody-elses")
    assert not is_gone(f"{os.getpid()}")
