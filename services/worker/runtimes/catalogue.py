"""Which runtimes this worker can serve, with what, and the variables that their functions see."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from services.worker.runtimes.families import Family
from services.worker.sandbox import network, protocol
from shared.domain.errors import LambdadError
from shared.domain.functions import VersionSpec
from shared.settings import WorkerSettings

PYTHON_MINORS = range(8, 15)
_NODEJS = re.compile(r"nodejs(\d+)\.x")
_CHECKOUT = Path(__file__).resolve().parents[3]
_LATER = ("java", "ruby", "dotnet")
_API = f"{network.ADDRESS}:{network.API_PORT}"
_LIBRARIES = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"


class UnsupportedRuntimeError(LambdadError):
    """This worker cannot run this runtime; the text says what would make it."""


class Catalogue:
    """What was found on this host, once."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.runtime_dir = settings.runtime_dir or _CHECKOUT / ".runtimes"
        self.pythons = find_pythons()
        self.node = find_node()

    def family_name(self, runtime: str) -> str:
        """The family that serves a runtime. Raises UnsupportedRuntimeError when no family could."""
        if _NODEJS.fullmatch(runtime):
            return "nodejs"
        if runtime == "provided" or runtime.startswith("provided."):
            return "provided"
        if re.fullmatch(r"python3\.\d+", runtime):
            return runtime
        if runtime.startswith(_LATER):
            raise UnsupportedRuntimeError(
                f"{runtime} functions come with a later release; python3.x, nodejs and provided run now"
            )
        raise UnsupportedRuntimeError(f"{runtime} is not a runtime that this worker knows")

    def family(self, runtime: str) -> Family:
        """Raises UnsupportedRuntimeError, saying what to install."""
        name = self.family_name(runtime)
        if name == "nodejs":
            return self._nodejs(runtime)
        if name == "provided":
            return self._provided()
        return self._python(name)

    def supports(self, runtime: str) -> bool:
        try:
            self.family(runtime)
        except UnsupportedRuntimeError:
            return False
        return True

    def _python(self, name: str) -> Family:
        interpreter = self.pythons.get(name)
        if interpreter is None:
            found = ", ".join(self.pythons) or "none"
            raise UnsupportedRuntimeError(
                f"{name} is not installed on this worker (found: {found}): install {name} and restart it"
            )
        runtime_dir = self.runtime_dir / name
        if not (runtime_dir / "awslambdaric").is_dir():
            raise UnsupportedRuntimeError(f"the runtime client of {name} is missing in {runtime_dir}: run `make setup`")
        prefix = _prefix(interpreter)
        return Family(
            name=name,
            interpreter=interpreter,
            prefixes=_beyond_usr(prefix),
            runtime_dir=runtime_dir,
            language_root=prefix,
            preload=True,
            kind=protocol.KIND_PYTHON,
        )

    def _nodejs(self, runtime: str) -> Family:
        if self.node is None:
            raise UnsupportedRuntimeError(f"{runtime} needs Node.js: install `node` on this worker and restart it")
        prefix = _prefix(self.node)
        return Family(
            name="nodejs",
            interpreter=_own_interpreter(),
            prefixes=(*_beyond_usr(_prefix(_own_interpreter())), *_beyond_usr(prefix)),
            runtime_dir=Path(__file__).parent / "nodejs",
            language_root=prefix,
            preload=False,
            kind=protocol.KIND_EXEC_EARLY,
            argv=(str(self.node), "/var/runtime/bootstrap.mjs", "prepared"),
            http=True,
        )

    def _provided(self) -> Family:
        return Family(
            name="provided",
            interpreter=_own_interpreter(),
            prefixes=_beyond_usr(_prefix(_own_interpreter())),
            runtime_dir=None,
            language_root=None,
            preload=False,
            kind=protocol.KIND_EXEC,
            http=True,
        )


def find_pythons() -> dict[str, Path]:
    """{"python3.12": its executable}. A version manager's own folder wins over PATH, whose entries may be shims."""
    home = Path(os.environ.get("HOME") or Path.home())
    managed = [Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", home / ".local/share/uv/python"]
    path = [
        Path(entry) for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if entry and not entry.endswith("/shims")
    ]
    found: dict[str, Path] = {}
    for minor in PYTHON_MINORS:
        name = f"python3.{minor}"
        candidates = [
            folder / "bin" / name
            for root in managed
            for pattern in (f"3.{minor}.*", f"cpython-3.{minor}.*")
            for folder in sorted(root.glob(pattern), key=_version, reverse=True)
        ]
        candidates += [folder / name for folder in (*path, Path("/usr/local/bin"), Path("/usr/bin"))]
        for candidate in candidates:
            if candidate.is_file() and os.access(candidate, os.X_OK):
                found[name] = candidate.resolve()
                break
    return found


def find_node() -> Path | None:
    found = shutil.which("node")
    return None if found is None else Path(found).resolve()


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name))


def _own_interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _prefix(executable: Path) -> Path:
    return executable.parent.parent


def _beyond_usr(prefix: Path) -> tuple[Path, ...]:
    """The prefix, unless every sandbox sees it anyway."""
    return () if prefix == Path("/usr") or prefix.is_relative_to("/usr") else (prefix,)


def base_environment(
    spec: VersionSpec, *, log_stream: str, access_key_id: str, secret_access_key: str, session_token: str
) -> dict[str, str]:
    """Every variable of the runtime process: AWS's, the function's own, and the ones that a function may not set.

    Source: recorded from python3.14, and the documentation for the other runtimes.
    """
    variables = {
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": f"{network.ADDRESS}:2000",
        "LANG": "en_US.UTF-8",
        "LD_LIBRARY_PATH": _LIBRARIES,
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "PWD": "/var/task",
        "SHLVL": "0",
        "TZ": ":UTC",
        "_AWS_XRAY_DAEMON_ADDRESS": network.ADDRESS,
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }
    if spec.runtime.startswith("python"):
        variables |= {"LC_CTYPE": "C.UTF-8", "PYTHONPATH": "/var/runtime"}
    node = _NODEJS.fullmatch(spec.runtime)
    if node:
        variables["NODE_PATH"] = (
            f"/opt/nodejs/node{node[1]}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"
        )
    variables |= spec.environment
    variables |= {
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_DEFAULT_REGION": spec.region,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.function_name,
        "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": _API,
        "AWS_REGION": spec.region,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
        "AWS_SESSION_TOKEN": session_token,
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": "/var/task",
        "_HANDLER": spec.handler,
    }
    if not spec.runtime.startswith("provided"):
        variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{spec.runtime}"
    if spec.log_format == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        variables["AWS_LAMBDA_LOG_LEVEL"] = spec.application_log_level or "INFO"
    return variables
