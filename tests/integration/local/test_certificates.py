"""Set-up behind a proxy that inspects TLS: each tool that downloads trusts an authority that the system's store alone knows."""

from __future__ import annotations

import datetime
import hashlib
import io
import ipaddress
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deploy.local import certificates, jars
from deploy.local.certificates import system_bundle, with_certificates
from deploy.local.jars import Jar

TOOL_TIMEOUT_S = 60
WHEEL = "tiny-1.0-py3-none-any.whl"
JAR_CONTENT = b"the bytes of a jar"
JAR = Jar("org.example:thing:1.0", hashlib.sha256(JAR_CONTENT).hexdigest(), len(JAR_CONTENT))
GET = "require('https').get(process.argv[1], answer => answer.on('data', data => process.stdout.write(data)))"


@dataclass(frozen=True)
class Registry:
    """An index of Python packages at /simple, a Maven repository at /maven, behind a certificate of an unknown authority."""

    address: str
    authority: Path


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that do not trust it leave in the middle of the handshake."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    site = folder / "site"
    (site / "simple" / "tiny").mkdir(parents=True)
    (site / "simple" / "tiny" / WHEEL).write_bytes(wheel())
    (site / "simple" / "tiny" / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
    jar = JAR.path(site / "maven")
    jar.parent.mkdir(parents=True)
    jar.write_bytes(JAR_CONTENT)
    authority, identity = certificate_files(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity)
    with QuietServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(site))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Registry(f"https://127.0.0.1:{server.server_port}", authority)
        server.shutdown()
        thread.join(5)


@pytest.fixture
def system_store(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """This system's store is the authority's alone."""
    monkeypatch.setattr(certificates, "SYSTEM_BUNDLES", (registry.authority,))


def certificate_files(folder: Path) -> tuple[Path, Path]:
    """The authority's certificate, and key and certificate of a server on loopback."""
    now = datetime.datetime.now(datetime.UTC)

    def built(name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))

    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inspecting proxy")])
    root = built("inspecting proxy", root_key).issuer_name(root_name)
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    root = root.add_extension(usage, critical=True)
    root = root.add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
    leaf = built("127.0.0.1", key).issuer_name(root_name)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = leaf.add_extension(names, critical=False)
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    authority, identity = folder / "authority.pem", folder / "identity.pem"
    pem = serialization.Encoding.PEM
    authority.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    identity.write_bytes(private + leaf.sign(root_key, hashes.SHA256()).public_bytes(pem))
    return authority, identity


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny.py", "here = True\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    return buffer.getvalue()


def bare(home: Path, **more: str) -> dict[str, str]:
    """An empty environment, with configuration files of nobody."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", **more}


def run(argv: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=TOOL_TIMEOUT_S, check=False)


def installing(tool: str, registry: Registry, target: Path) -> list[str]:
    programs = {
        "uv": [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable, "--no-cache"],
        "pip": [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--retries", "0"],
    }
    return [*programs[tool], "--index-url", f"{registry.address}/simple", "--target", str(target), "tiny"]


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_python_packages_are_fetched_with_the_systems_certificates(
    tool: str, registry: Registry, system_store: None, tmp_path: Path
) -> None:
    alone = run(installing(tool, registry, tmp_path / "alone"), bare(tmp_path))
    assert alone.returncode != 0, "it trusts whoever comes, so this test would show nothing"
    done = run(installing(tool, registry, tmp_path / "target"), with_certificates(bare(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "target" / "tiny.py").exists()


@pytest.mark.parametrize("tool", ["uv", "pip"])
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"])
def test_whichever_variable_names_the_certificates_each_tool_trusts_them(
    tool: str, variable: str, registry: Registry, tmp_path: Path
) -> None:
    environment = with_certificates(bare(tmp_path, **{variable: str(registry.authority)}))
    done = run(installing(tool, registry, tmp_path / "target"), environment)
    assert done.returncode == 0, done.stderr


def test_jars_are_fetched_with_the_systems_certificates(
    registry: Registry, system_store: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*certificates.NAMED_BY, "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAMBDAD_JAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LAMBDAD_MAVEN_MIRROR", f"{registry.address}/maven")
    monkeypatch.setattr(jars, "read_lock", lambda _lock: (JAR,))
    before = dict(os.environ)
    (path,) = jars.ensure_jars()
    assert path.read_bytes() == JAR_CONTENT
    assert dict(os.environ) == before


@pytest.mark.needs("node")
def test_node_trusts_the_systems_certificates(registry: Registry, system_store: None, tmp_path: Path) -> None:
    argv = [str(shutil.which("node")), "-e", GET, f"{registry.address}/maven/{JAR.path(Path())}"]
    assert "unable to verify" in run(argv, bare(tmp_path)).stderr
    assert run(argv, with_certificates(bare(tmp_path))).stdout == JAR_CONTENT.decode()


def test_what_the_operator_said_is_kept(registry: Registry, tmp_path: Path) -> None:
    said = {
        "SSL_CERT_FILE": str(registry.authority),
        "REQUESTS_CA_BUNDLE": str(tmp_path / "mine.pem"),
        "NODE_EXTRA_CA_CERTS": str(tmp_path / "node.pem"),
        "UV_SYSTEM_CERTS": "false",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NO_PROXY": "internal.example",
    }
    assert with_certificates(said) == said


def test_a_folder_of_certificates_is_not_overruled_by_the_systems_file(tmp_path: Path) -> None:
    told = with_certificates({"SSL_CERT_DIR": str(tmp_path)})
    assert "SSL_CERT_FILE" not in told
    assert told["REQUESTS_CA_BUNDLE"] == str(tmp_path)


def test_a_system_without_a_file_of_certificates_is_left_to_its_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "system_bundle", lambda: None)
    assert with_certificates({}) == {"UV_SYSTEM_CERTS": "true"}


def test_this_system_has_one() -> None:
    bundle = system_bundle()
    assert bundle is not None
    assert "BEGIN CERTIFICATE" in Path(bundle).read_text()
