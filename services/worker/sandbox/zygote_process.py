"""A zygote as the worker holds it: started once for a pool, forks a sandbox on request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.worker.sandbox.control_socket import ControlSocket
from services.worker.sandbox.recipe import Recipe
from services.worker.sandbox.spec import SandboxError

log = logging.getLogger("lambdad.worker")

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
_BOOT = Path(__file__).parent.parent / "zygote" / "boot.py"


class ZygoteProcess:
    """archives: folder where what is made for its programs is kept. on_death is called when it ends unasked.
    shared_bytes: by pool, what a runtime has in memory and is charged to others, once one was looked at."""

    def __init__(self, recipe: Recipe, archives: Path, on_death: Callable[[], None]) -> None:
        self.recipe = recipe
        self._archives = archives
        self._on_death = on_death
        self.pid = 0
        self.shared_bytes: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: ControlSocket | None = None
        self._started: asyncio.Future[None] | None = None
        self._answers: dict[int, asyncio.Future[int]] = {}
        self._requests = 0

    @property
    def alive(self) -> bool:
        return self._control is not None and self._started is not None and self._started.done()

    async def start(self) -> None:
        """Raises SandboxError, with what the zygote said."""
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._control = ControlSocket(self._on_message, self._on_end)
        fd = self._control.far_end.fileno()
        # An empty environment: what a process was executed with stays readable in all its forks (zygote/settle.py adds a path).
        self._process = subprocess.Popen(  # noqa: ASYNC220
            [str(self.recipe.interpreter), "-S", str(_BOOT), str(fd)],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._control.far_end.close()
        try:
            self._send_config(self._control)
            async with asyncio.timeout(START_TIMEOUT_S):
                await asyncio.shield(self._started)
        except TimeoutError:
            await self.stop()
            raise SandboxError(f"the zygote of {self.recipe.pool} did not start within {START_TIMEOUT_S:.0f} s") from None
        except BaseException:
            await self.stop()
            raise

    def _send_config(self, control: ControlSocket) -> None:
        recipe = self.recipe
        config: dict[str, object] = {
            "interpreter": str(recipe.interpreter),
            "prefixes": [str(prefix) for prefix in recipe.prefixes],
            "runtime_dirs": [str(folder) for folder in recipe.runtime_dirs],
            "language_root": None if recipe.language_root is None else str(recipe.language_root),
            "links": recipe.links,
            "settings": recipe.settings,
            "inside": None if recipe.inside is None else str(recipe.inside),
            "pool": recipe.pool,
            "variables": dict(recipe.variables),
            "archive": None,
        }
        if recipe.archive is None:
            control.send(config)
            return
        self._archives.mkdir(parents=True, exist_ok=True)
        folder_fd = os.open(self._archives, os.O_RDONLY | os.O_DIRECTORY)
        try:
            control.send({**config, "archive": asdict(recipe.archive)}, [folder_fd])
        finally:
            os.close(folder_fd)

    async def spawn(self, request: dict[str, Any], fds: list[int]) -> int:
        """Fork a sandbox; the pidfd of its init. Raises SandboxError."""
        if self._control is None:
            raise SandboxError(f"the zygote of {self.recipe.pool} has ended")
        self._requests += 1
        number = self._requests
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            self._control.send({"id": number, **request}, fds)
            return await answer
        finally:
            self._answers.pop(number, None)

    async def stop(self) -> None:
        """End it, and with it every sandbox that it forked."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
        self._on_end()

    def _on_message(self, message: dict[str, Any], fds: list[int]) -> None:
        assert self._started is not None
        if not self._started.done():
            if "ready" in message:
                if message.get("warning"):
                    log.warning("zygote of %s: %s", self.recipe.pool, message["warning"])
                self._started.set_result(None)
            else:
                self._started.set_exception(
                    SandboxError(f"the zygote of {self.recipe.pool} cannot start: {message.get('error')}")
                )
        answer = self._answers.get(message.get("id", 0))
        if answer is not None and not answer.done():
            if fds:
                answer.set_result(fds.pop(0))
            else:
                answer.set_exception(SandboxError(f"a sandbox cannot be forked: {message.get('error')}"))
        for fd in fds:
            os.close(fd)

    def _on_end(self) -> None:
        died = self._control is not None and self._started is not None and self._started.done()
        self._control = None
        error = SandboxError(f"the zygote of {self.recipe.pool} ended")
        waiting: list[asyncio.Future[Any]] = [*self._answers.values()]
        if self._started is not None:
            waiting.append(self._started)
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()
        if died:
            self._on_death()
