"""Ruby: processes that are started without code and wait (inside/), or are started anew where that will not do."""

from __future__ import annotations

import re
from pathlib import Path

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.host import beyond_usr, own_interpreter, prefix_of
from services.worker.runtimes.ruby.interpreters import find_rubies
from services.worker.runtimes.variables import reads_other_libraries
from services.worker.sandbox import mounts, protocol
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.runtimes import how_to_install

_RUNTIME = re.compile(r"ruby(\d+\.\d+)")
_INSIDE = Path(__file__).parent / "inside"
_BOOTSTRAP = "/var/runtime/bootstrap.rb"
_READ_AT_START = ("RUBYOPT", "RUBY_", "MALLOC_", "SSL_CERT_")
"""What variables begin with that Ruby, or a library of its, reads once: a prepared process has started without them."""
_LIBRARIES = ("site_ruby/{0}", "site_ruby/{0}/{1}", "vendor_ruby/{0}", "vendor_ruby/{0}/{1}", "{0}", "{0}/{1}")
"""Where Ruby looks for its own below lib/ruby, in its order, by version and machine."""


class RubyFamily:
    """Implements `contract.RuntimeFamily`."""

    name = "ruby"

    def __init__(self) -> None:
        self._rubies = find_rubies()

    def serves(self, runtime: str) -> bool:
        return _RUNTIME.fullmatch(runtime) is not None

    def pool(self, runtime: str) -> str:
        return runtime

    def recipe(self, runtime: str) -> Recipe:
        ruby = self._rubies.get(runtime)
        if ruby is None:
            found = ", ".join(self._rubies) or "none"
            raise UnsupportedRuntimeError(
                f"{runtime} is not installed on this worker (found: {found}). {how_to_install(runtime)}"
            )
        interpreter = own_interpreter()
        return Recipe(
            family=self,
            pool=runtime,
            interpreter=interpreter,
            prefixes=beyond_usr(prefix_of(interpreter), prefix_of(ruby)),
            kind=protocol.KIND_EXEC_EARLY,
            waiting_bytes=24 * 1024**2,
            runtime_dirs=(_INSIDE,),
            language_root=prefix_of(ruby),
            argv=(f"/var/lang/{ruby.relative_to(prefix_of(ruby))}", *_load_path(prefix_of(ruby)), _BOOTSTRAP, "prepared"),
            http=True,
        )

    def installed(self) -> list[str]:
        return list(self._rubies)

    def variables(self, runtime: str) -> dict[str, str]:
        found = _RUNTIME.fullmatch(runtime)
        assert found is not None
        gems = (f"/var/task/vendor/bundle/ruby/{found[1]}.0", f"/opt/ruby/gems/{found[1]}.0")
        return {
            "GEM_PATH": ":".join((*gems, "/var/runtime", f"/var/runtime/ruby/{found[1]}.0")),
            "RUBYLIB": "/var/task:/var/runtime/lib:/opt/ruby/lib",
        }

    def execution_environment(self, runtime: str) -> str | None:
        return f"AWS_Lambda_{runtime}"

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        command = [*recipe.argv[:-1]]
        if spec.wrapper:
            return [[spec.wrapper, *command]]
        early = any(name.startswith(_READ_AT_START) for name in spec.environment) or reads_other_libraries(spec)
        return [command] if early else []

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        return None


def _load_path(prefix: Path) -> list[str]:
    """Flags for a Ruby of /opt: it looks for its libraries where it was built for, and that is where functions have layers."""
    libraries = prefix / "lib/ruby"
    settings = next(libraries.glob("*/*/rbconfig.rb"), None) if prefix.is_relative_to(mounts.LAYERS) else None
    if settings is None:
        return []
    version, machine = settings.parts[-3:-1]
    places = (place.format(version, machine) for place in _LIBRARIES)
    return [f"-I/var/lang/lib/ruby/{place}" for place in places if (libraries / place).is_dir()]
