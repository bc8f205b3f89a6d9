"""Kafka's jars: only the pinned bytes are accepted, wherever they come from."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.local import jars
from deploy.local.jars import Jar
from shared.domain.errors import ConfigurationError

CONTENT = b"the bytes of a jar"
JAR = Jar("org.example:thing:1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository on loopback that LAMBDAD_MAVEN_MIRROR names, an empty cache, and a lock with one jar."""
    root = tmp_path / "mirror"
    root.mkdir()
    lock = tmp_path / "kafka.lock"
    lock.write_text(f"# comment\n{JAR.coordinate} {JAR.sha256} {JAR.size_bytes}\n")
    pinned = jars.read_lock(lock)
    monkeypatch.setattr(jars, "read_lock", lambda _lock: pinned)
    monkeypatch.setenv("LAMBDAD_JAR_CACHE", str(tmp_path / "cache"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root))) as server:
        monkeypatch.setenv("LAMBDAD_MAVEN_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield root
        server.shutdown()
        thread.join(5)


def publish(root: Path, content: bytes) -> None:
    path = JAR.path(root)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_a_missing_jar_comes_from_the_mirror_and_says_how_far_it_is(mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(mirror, CONTENT)
    (path,) = jars.ensure_jars()
    assert path.read_bytes() == CONTENT
    assert "downloading 1 jars" in capsys.readouterr().err
    assert jars.present_jars() == (path,)


def test_a_jar_with_other_bytes_is_refused_and_not_kept(mirror: Path) -> None:
    publish(mirror, b"the bytes of evil!")
    with pytest.raises(ConfigurationError, match=r"is not what kafka\.lock pins"):
        jars.ensure_jars()
    assert not JAR.path(jars.jar_cache()).exists()


def test_a_damaged_jar_in_the_cache_is_fetched_again(mirror: Path) -> None:
    publish(mirror, CONTENT)
    damaged = JAR.path(jars.jar_cache())
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"cut")
    assert jars.present_jars() is None
    assert jars.ensure_jars()[0].read_bytes() == CONTENT


def test_a_jar_that_is_nowhere_is_named_with_what_can_be_set(mirror: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"org\.example:thing:1\.0 could not be downloaded.*LAMBDAD_MAVEN_MIRROR"):
        jars.ensure_jars()


def test_offline_asks_no_one(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(mirror, CONTENT)
    monkeypatch.setenv("LAMBDAD_OFFLINE", "1")
    with pytest.raises(ConfigurationError, match="LAMBDAD_OFFLINE=1 forbids"):
        jars.ensure_jars()


@pytest.mark.parametrize("wanted", jars.ALL, ids=lambda wanted: wanted.lock.stem)
def test_every_pinned_jar_is_named_once_and_no_address_is_recorded(wanted: jars.JarSet) -> None:
    pinned = jars.read_lock(wanted.lock)
    names = [jar.coordinate.rpartition(":")[0] for jar in pinned]
    assert len(set(names)) == len(names)
    assert set(wanted.roots) <= {jar.coordinate for jar in pinned}
    assert "://" not in wanted.lock.read_text()


def test_all_of_kafka_is_of_one_version() -> None:
    pinned = jars.read_lock(jars.KAFKA.lock)
    assert {jar.coordinate.split(":")[2] for jar in pinned if jar.coordinate.startswith("org.apache.kafka:")} == {
        jars.KAFKA_VERSION
    }
