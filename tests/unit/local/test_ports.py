"""Ports that are chosen and not listened on yet are nobody else's."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploy.local import ports

CHOOSE = (
    "import sys; from deploy.local import ports; ports.FIRST_PORT = ports.LAST_PORT = int(sys.argv[1]); ports.choose(set())"
)


def test_no_two_choose_the_same_port_before_either_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    port = ports.choose(set())
    monkeypatch.setattr(ports, "FIRST_PORT", port)
    monkeypatch.setattr(ports, "LAST_PORT", port)
    with pytest.raises(OSError, match="no free loopback port"):
        ports.choose(set())
    other = subprocess.run([sys.executable, "-c", CHOOSE, str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert "no free loopback port" in other.stderr
    assert ports.choose(set(), wish=port) == port
    ports._chosen.pop(port).close()
    assert ports.choose(set()) == port
