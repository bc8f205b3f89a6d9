"""Draws docs/state-machines.md from the tables in the code: `make docs`. A test holds the file to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from services.worker.environment import machine as environment
from services.worker.sandbox import frame_stream, protocol
from services.worker.sandbox.runtime_api.extensions import machine as extensions_api
from services.worker.sandbox.runtime_api.runtime import machine as runtime_api
from shared.domain import function_state
from shared.domain.mappings import machine as mapping

TARGET = Path(__file__).with_name("state-machines.md")
HEAD = """# State machines

Made from the tables in the code by `make docs`; do not edit. An event that a table does not have for a state raises and changes
nothing.
"""
GONE = "[*]"

Step = tuple[str, str, str]
"""State, event, next state."""


def environments() -> Iterable[Step]:
    for state, events in environment.TRANSITIONS.items():
        for event, following in events.items():
            yield state.value, event.value, following.value


def mappings() -> Iterable[Step]:
    for (state, event), following in mapping.TRANSITIONS.items():
        yield state.value, event.value, following.value if following is not None else GONE


def functions() -> Iterable[Step]:
    for (status, event), following in function_state.TRANSITIONS.items():
        yield named(status), event.value, named(following)


def named(status: function_state.Status) -> str:
    return status.state.value + (f"_{status.update.value}" if status.update.value else "")


def runtimes() -> Iterable[Step]:
    for (state, call), following in runtime_api.TABLE.items():
        yield state.value, call.value, following.value


def extensions() -> Iterable[Step]:
    for (state, call), following in extensions_api.TABLE.items():
        yield state.value, call.value, following.value


def streams() -> Iterable[Step]:
    names = {number: name for name, number in vars(protocol).items() if isinstance(number, int)}
    for (state, kind), following in frame_stream.TABLE.items():
        yield state.value, names[kind], following.value


def section(title: str, source: str, steps: Iterable[Step]) -> str:
    arrows = "\n".join(f"    {state} --> {following}: {event}" for state, event, following in steps)
    return f"\n## {title}\n[{source}](../{source})\n```mermaid\nstateDiagram-v2\n{arrows}\n```\n"


def render() -> str:
    return (
        HEAD
        + section("Execution environment", "services/worker/environment/machine.py", environments())
        + section("Function version: State and LastUpdateStatus", "shared/domain/function_state.py", functions())
        + section("Event source mapping", "shared/domain/mappings/machine.py", mappings())
        + section("Runtime, as its Runtime API sees it", "services/worker/sandbox/runtime_api/runtime/machine.py", runtimes())
        + section("Extension", "services/worker/sandbox/runtime_api/extensions/machine.py", extensions())
        + section("Runtime process, as its stream of frames sees it", "services/worker/sandbox/frame_stream.py", streams())
    )


if __name__ == "__main__":
    TARGET.write_text(render())
