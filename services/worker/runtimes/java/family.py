"""Java: machines that are started without code and wait (client/), or are started anew where that will not do."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from pathlib import Path

from services.worker.runtimes.contract import UnsupportedRuntimeError
from services.worker.runtimes.host import beyond_usr, own_interpreter, prefix_of
from services.worker.runtimes.java import options
from services.worker.runtimes.java.virtual_machines import VirtualMachine, find_virtual_machines
from services.worker.runtimes.variables import reads_other_libraries
from services.worker.sandbox import protocol
from services.worker.sandbox.recipe import Archive, Recipe
from services.worker.sandbox.spec import SandboxSpec
from shared.domain.limits import MEMORY_MB_DEFAULT
from shared.domain.runtimes import how_to_install

_RUNTIME = re.compile(r"java(\d+)")
CLIENT = "java-client"
"""Folder, beside the fetched Javas, with the runtime client: lib/ is /var/runtime/lib."""
START = "lambdad-start.jar"
NATIVE = "libaws-lambda-jni.so"
_CLIENT = "aws-lambda-java-runtime-interface-client.jar"
_JARS = (START, _CLIENT, "aws-lambda-java-core.jar", "aws-lambda-java-serialization.jar", "utils-lite.jar", "annotations.jar")
_LIBRARIES = "/var/runtime/lib"
_CLASS_PATH = ":".join(f"{_LIBRARIES}/{name}" for name in _JARS)
_JAVA = "/var/lang/bin/java"
_PREPARED = "lambdad.Bootstrap"
_EXECUTED, _EXECUTED_WITH_TRACE = "com.amazonaws.services.lambda.runtime.api.client.AWSLambda", "lambdad.TraceVariable"
_ARCHIVE = "/.lambdad/classes.jsa"
_CLASS_LIST = "/.own/classes"
_WAITING_BYTES = 32 * 1024**2
"""Measured: 17 to 23 MB of its own, the archive shared."""
_PLACES = 256
"""How many variables a function may have for a prepared machine to serve it."""
_TELEMETRY_FROM, _QUIET_MEMORY_FROM, _ARCHIVE_MOVES_FROM, _TRACE_PROPERTY_FROM = 17, 23, 17, 17
"""The first Java that has a descriptor for records; that warns of direct access to memory; that would move an archive
about, and so copy it; whose functions find their trace in a property alone."""


def short_name(jar: Path) -> str:
    """A jar's file name without its version, as AWS's runtimes have it."""
    return re.sub(r"-\d[\w.-]*\.jar$", ".jar", jar.name)


class JavaFamily:
    """Implements `contract.RuntimeFamily`. installed: folder with what was fetched for functions, a folder a runtime."""

    name = "java"

    def __init__(self, installed: Path) -> None:
        self._machines = find_virtual_machines(installed)
        self._client = installed / CLIENT

    def serves(self, runtime: str) -> bool:
        return _RUNTIME.fullmatch(runtime) is not None

    def pool(self, runtime: str) -> str:
        return runtime

    def recipe(self, runtime: str) -> Recipe:
        machine = self._machines.get(runtime)
        if machine is None:
            found = ", ".join(self._machines) or "none"
            raise UnsupportedRuntimeError(
                f"{runtime} is not installed on this worker (found: {found}). {how_to_install(runtime)}"
            )
        if not (self._client / "lib" / START).is_file():
            raise UnsupportedRuntimeError(f"the runtime client of {runtime} is missing. {how_to_install(runtime)}")
        interpreter = own_interpreter()
        flags = _flags(_major(runtime))
        prepared = partial(_prepared, flags)
        return Recipe(
            family=self,
            pool=runtime,
            interpreter=interpreter,
            prefixes=beyond_usr(prefix_of(interpreter), machine.home),
            kind=protocol.KIND_EXEC_EARLY,
            runtime_dirs=(self._client,),
            language_root=machine.home,
            http=True,
            waiting_bytes=_WAITING_BYTES,
            logs_late=True,
            variables=tuple({**{f"_{number}": "" for number in range(_PLACES)}, **self.variables(runtime)}.items()),
            settings=machine.settings,
            archive=_archive(runtime, machine, self._client, flags),
            argv=prepared(MEMORY_MB_DEFAULT),
            argv_by_memory=prepared,
        )

    def installed(self) -> list[str]:
        return list(self._machines)

    def variables(self, runtime: str) -> dict[str, str]:
        return {"_LAMBDA_TELEMETRY_LOG_FD": "62"} if _major(runtime) >= _TELEMETRY_FROM else {}

    def execution_environment(self, runtime: str) -> str | None:
        return f"AWS_Lambda_{runtime}"

    def programs(self, recipe: Recipe, spec: SandboxSpec) -> list[list[str]]:
        given = spec.environment
        early = any(name in given for name in options.READ_AT_START) or given["LANG"] != "en_US.UTF-8"
        if not (spec.wrapper or early or len(given) > _PLACES or reads_other_libraries(spec)):
            return []
        own = " ".join(given.get(name, "") for name in options.OPTIONS_IN)
        flags = options.without_those_of(own, [options.heap(spec.memory_mb), *recipe.argv[2:-1]])
        executed = _EXECUTED if _major(spec.version.runtime) >= _TRACE_PROPERTY_FROM else _EXECUTED_WITH_TRACE
        command = [_JAVA, *flags, executed, spec.handler]
        return [[spec.wrapper, *command]] if spec.wrapper else [command]

    def missing_entrypoint(self, spec: SandboxSpec) -> tuple[str, str] | None:
        return None


def _major(runtime: str) -> int:
    found = _RUNTIME.fullmatch(runtime)
    assert found is not None
    return int(found[1])


def _flags(major: int) -> list[str]:
    return [
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-XX:SharedArchiveFile={_ARCHIVE}",
        *(["-XX:+UnlockDiagnosticVMOptions", "-XX:ArchiveRelocationMode=0"] if major >= _ARCHIVE_MOVES_FROM else []),
        "-Xlog:cds=off",
        *(
            ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
            if major >= _QUIET_MEMORY_FROM
            else []
        ),
        "--add-opens=java.base/java.io=ALL-UNNAMED",
        "-XX:+ErrorFileToStderr",
        "-Dorg.crac.Core.Compat=com.amazonaws.services.lambda.crac",
        f"-Dcom.amazonaws.services.lambda.runtime.api.client.runtimeapi.NativeClient.JNI={_LIBRARIES}/{NATIVE}",
        "-classpath",
        _CLASS_PATH,
    ]


def _prepared(flags: list[str], memory_mb: int) -> tuple[str, ...]:
    return (_JAVA, options.heap(memory_mb), *flags, _PREPARED)


def _archive(runtime: str, machine: VirtualMachine, client: Path, flags: list[str]) -> Archive:
    made_of = [machine.full_version, *flags]
    made_of += [f"{jar} {jar.stat().st_size} {jar.stat().st_mtime_ns}" for jar in (client / "lib" / name for name in _JARS)]
    digest = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    rest = [flag for flag in flags if not flag.startswith("-XX:SharedArchiveFile")]
    return Archive(
        name=f"{runtime}-{digest}.jsa",
        place=_ARCHIVE,
        commands=(
            (_JAVA, "-Xshare:off", f"-XX:DumpLoadedClassList={_CLASS_LIST}", *rest, _PREPARED, "for-archive"),
            (_JAVA, "-Xshare:dump", f"-XX:SharedClassListFile={_CLASS_LIST}",
             f"-XX:SharedArchiveFile=/.skeleton{_ARCHIVE}", *rest),
        ),
    )  # fmt: skip
