"""Packages of Java functions, compiled once from src/ by a compiler that is a jar: no JDK is needed."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from deploy.local.fetched_java import compile_java
from deploy.local.jars import JAVA_CLIENT, JAVA_EVENTS, ensure_jars

_SOURCES = Path(__file__).parent / "src"


@cache
def classes() -> dict[str, bytes]:
    """{"example/Echo.class": its bytes} of everything in src/."""
    with tempfile.TemporaryDirectory() as scratch:
        jar = Path(scratch) / "classes.jar"
        compile_java(sorted(_SOURCES.rglob("*.java")), [*ensure_jars(JAVA_CLIENT), *ensure_jars(JAVA_EVENTS)], jar)
        with zipfile.ZipFile(jar) as archive:
            return {name: archive.read(name) for name in archive.namelist()}


@cache
def libraries() -> dict[str, bytes]:
    """{file name: bytes} of AWS's event classes, as a build puts them into lib/."""
    return {jar.name: jar.read_bytes() for jar in ensure_jars(JAVA_EVENTS)}


def class_of(name: str) -> dict[str, bytes]:
    """The files of one class, by its place in a package."""
    return {
        path: data for path, data in classes().items() if path.removesuffix(".class").split("$")[0] == name.replace(".", "/")
    }


def jar_of(*names: str) -> bytes:
    """A jar with these classes."""
    return jar_with({path: data for name in names for path, data in class_of(name).items()})


def jar_with(files: Mapping[str, str | bytes]) -> bytes:
    """As a build tool writes one, with a manifest first and folders as entries."""
    written = io.BytesIO()
    folders = sorted({f"{parent}/" for name in files for parent in Path(name).parents if parent != Path(".")})
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as jar:
        jar.writestr("META-INF/", "")
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nCreated-By: a test\r\n\r\n")
        for name in folders:
            jar.writestr(name, "")
        for name, data in files.items():
            jar.writestr(name, data)
    return written.getvalue()


def unpacked(*jars: bytes) -> dict[str, bytes]:
    """The classes of jars, as in a jar that has everything in it."""
    files = {}
    for jar in jars:
        with zipfile.ZipFile(io.BytesIO(jar)) as archive:
            files.update({name: archive.read(name) for name in archive.namelist() if name.endswith(".class")})
    return files
