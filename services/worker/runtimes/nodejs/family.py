"""Node.js: processes that are started without code and wait (inside/), or are started anew where that will not do."""

from __future__ import annotations

import re
from pathlib import Path

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.host import beyond_usr, own_interpreter, prefix_of
from services.worker.runtimes.nodejs.interpreters import find_nodes
from services.worker.runtimes.variables import reads_other_libraries
from services.worker.sandbox import protocol
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.runtimes import how_to_install

_RUNTIME = re.compile(r"nodejs(\d+)\.x")
_INSIDE = Path(__file__).parent / "inside"
SDK = "nodejs-sdk"
"""Folder, beside the fetched Nodes, of the node_modules that all functions share."""
_BOOTSTRAP = "/var/runtime/bootstrap.mjs"
_LINKS = (("/var/node_modules", "/opt/nodejs/node_modules"), ("/node_modules", "/var/runtime/node_modules"))
"""Folders that Node.js searches for what a module in /var/task imports (inside/modules.mjs)."""
_WAITING_BYTES = 16 * 1024**2
"""Measured: 8 MB of its own."""
_READ_AT_START = ("NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "NODE_ICU_DATA", "UV_THREADPOOL_SIZE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables that Node reads while it starts: a prepared process has started without them."""


class NodejsFamily:
    """Implements `contract.RuntimeFamily`. installed: folder with what was fetched for functions, a folder a runtime."""

    name = "nodejs"

    def __init__(self, installed: Path) -> None:
        self._nodes = find_nodes(installed)
        self._sdk = [folder for folder in (installed / SDK,) if folder.is_dir()]

    def serves(self, runtime: str) -> bool:
        return _RUNTIME.fullmatch(runtime) is not None

    def pool(self, runtime: str) -> str:
        return runtime

    def recipe(self, runtime: str) -> Recipe:
        node = self._nodes.get(runtime)
        if node is None:
            found = ", ".join(self._nodes) or "none"
            raise UnsupportedRuntimeError(
                f"{runtime} is not installed on this worker (found: {found}). {how_to_install(runtime)}"
            )
        interpreter = own_interpreter()
        return Recipe(
            family=self,
            pool=runtime,
            interpreter=interpreter,
            prefixes=beyond_usr(prefix_of(interpreter), prefix_of(node)),
            kind=protocol.KIND_EXEC_EARLY,
            runtime_dirs=(_INSIDE, *self._sdk),
            language_root=prefix_of(node),
            links=_LINKS,
            argv=(f"/var/lang/{node.relative_to(prefix_of(node))}", _BOOTSTRAP, "prepared"),
            http=True,
            waiting_bytes=_WAITING_BYTES,
        )

    def installed(self) -> list[str]:
        return list(self._nodes)

    def variables(self, runtime: str) -> dict[str, str]:
        found = _RUNTIME.fullmatch(runtime)
        assert found is not None
        folders = (f"/opt/nodejs/node{found[1]}/node_modules", "/opt/nodejs/node_modules", "/var/runtime/node_modules")
        return {"NODE_PATH": ":".join((*folders, "/var/runtime", "/var/task"))}

    def execution_environment(self, runtime: str) -> str | None:
        return f"AWS_Lambda_{runtime}"

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        command = [*recipe.argv[:2]]
        if spec.wrapper:
            return [[spec.wrapper, *command]]
        early = any(name in spec.environment for name in _READ_AT_START) or reads_other_libraries(spec)
        return [command] if early else []

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        return None
