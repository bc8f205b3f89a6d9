"""Slots of a keeper (keeper/process.py), as the worker holds them."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import Counter, Gauge

from services.worker.sandbox.control_socket import ControlSocket
from services.worker.sandbox.network.keeper.options import KeeperOptions, Reach, Report
from services.worker.sandbox.spec import SandboxError
from shared.domain.errors import ConfigurationError

log = logging.getLogger("lambdad.worker")

OUTSIDE = Gauge("lambdad_worker_network_outside", "1 when functions that have a network reach what is outside of the cluster")
TAKEN = Counter("lambdad_worker_network_slots_taken_total", "Network slots given to sandboxes", ["ready"])

START_TIMEOUT_S = 20.0
TAKE_TIMEOUT_S = 20.0
CUT_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 5.0
RESTART_DELAY_S = 1.0
_ROOT = Path(__file__).resolve().parents[4]

REFUSED_A_MESSAGE = 400
"""Which may have 64 KiB, and is one transaction of the kernel's."""

Address = tuple[str, int]


class KeptSlot:
    """Implements contract.NetworkSlot."""

    def __init__(self, link: KeeperLink, number: int, fd: int) -> None:
        self.lost = False
        self.number = number
        self._link = link
        self._fd = fd

    def descriptor(self) -> int:
        return self._fd

    def entered(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    async def cut(self) -> None:
        await self._link.cut(self)

    def give_back(self) -> None:
        self.entered()
        self._link.tell("back", self)

    def lose(self) -> None:
        self.entered()
        self._link.tell("lost", self)


class KeeperLink:
    """One keeper, from its start to its end. on_end: it ended without having been stopped."""

    def __init__(self, options: KeeperOptions, on_end: Callable[[], None]) -> None:
        self._options = options
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._control = ControlSocket(self._on_message, self._ended)
        self._process: subprocess.Popen[bytes] | None = None
        self._report: asyncio.Future[Report] = self._loop.create_future()
        self._ready: deque[KeptSlot] = deque()
        self._waiting: deque[asyncio.Future[KeptSlot]] = deque()
        self._cuts: dict[int, asyncio.Future[None]] = {}
        self._taken: set[KeptSlot] = set()
        self._stopped = False

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    async def start(self) -> Report:
        """Raises ConfigurationError."""
        fd = self._control.far_end.fileno()
        # Of this checkout's or installation's modules alone (-P), and of no variable that could change what they are.
        self._process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(_ROOT)!r}); "
             f"from services.worker.sandbox.network.keeper import process; process.main({fd})"],
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            pass_fds=[fd],
            start_new_session=True,
        )  # fmt: skip
        self._control.far_end.close()
        self._control.send(msgspec.to_builtins(self._options))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                report = await asyncio.shield(self._report)
        except TimeoutError:
            raise ConfigurationError(f"functions' networks were not there within {START_TIMEOUT_S:.0f} s") from None
        if report.error is not None:
            raise ConfigurationError(f"functions cannot be given networks of their own: {report.error}")
        return report

    async def take(self) -> KeptSlot:
        """Raises SandboxError."""
        TAKEN.labels("yes" if self._ready else "no").inc()
        if self._ready:
            slot = self._ready.popleft()
        else:
            waiter: asyncio.Future[KeptSlot] = self._loop.create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout(TAKE_TIMEOUT_S):
                    slot = await waiter
            except (TimeoutError, asyncio.CancelledError) as error:
                # One may have come in that very moment.
                if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                    self._offer(waiter.result())
                if isinstance(error, TimeoutError):
                    raise SandboxError(f"there was no network slot within {TAKE_TIMEOUT_S:.0f} s") from None
                raise
        self._taken.add(slot)
        try:
            self._control.send({"op": "took", "slot": slot.number})
        except SandboxError as error:
            self._taken.discard(slot)
            slot.entered()
            self._fail(error)
            raise
        return slot

    async def cut(self, slot: KeptSlot) -> None:
        if slot.lost:
            return  # Its way out went with the keeper.
        done: asyncio.Future[None] = self._loop.create_future()
        self._cuts[slot.number] = done
        try:
            self._control.send({"op": "cut", "slot": slot.number})
            async with asyncio.timeout(CUT_TIMEOUT_S):
                await done
        except TimeoutError:
            raise SandboxError("a sandbox could not be cut off its network in time") from None
        finally:
            self._cuts.pop(slot.number, None)

    def tell(self, what: str, slot: KeptSlot) -> None:
        """That a taken slot is the sandbox's no more."""
        self._taken.discard(slot)
        if not slot.lost and not self._stopped:
            try:
                self._control.send({"op": what, "slot": slot.number})
            except SandboxError as error:
                self._fail(error)

    def _fail(self, error: SandboxError) -> None:
        """It cannot be told any more what is whose: a fresh one begins anew."""
        if not self._stopped:
            log.error("the keeper of functions' networks does not listen and is replaced: %s", error)
            self._ended()

    def refuse(self, more: Sequence[Address], no_more: Sequence[Address]) -> None:
        """TCP ports, whatever else may be reached; and some no longer: so many as a message may have. Raises SandboxError."""
        self._control.send({"op": "refuse", "more": more, "no_more": no_more})

    async def stop(self) -> None:
        self._stopped = True
        self._control.close()
        self._drop("the worker is ending")
        if self._process is not None:
            process, self._process = self._process, None
            try:
                await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)

    def _on_message(self, message: dict[str, Any], fds: list[int]) -> None:
        if "slot" in message:
            self._offer(KeptSlot(self, message["slot"], fds.pop()))
        elif "report" in message:
            self._report.set_result(msgspec.convert(message["report"], Report))
        elif "cut" in message:
            done = self._cuts.get(message["cut"])
            if done is not None and not done.done():
                if "error" in message:
                    done.set_exception(SandboxError(f"a sandbox cannot be cut off its network: {message['error']}"))
                else:
                    done.set_result(None)
        elif "problem" in message:
            log.error("network slots: %s", message["problem"])

    def _offer(self, slot: KeptSlot) -> None:
        if self._stopped:
            slot.lost = True
            slot.entered()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        self._ready.append(slot)

    def _ended(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._control.close()
        if self._process is not None:
            self._process.kill()
        self._drop("the keeper of functions' networks ended")
        if self._report.done():
            self._on_end()
        else:
            self._report.set_result(Report(error="their keeper ended; its last words are above"))

    def _drop(self, reason: str) -> None:
        for slot in (*self._ready, *self._taken):
            slot.lost = True
        for slot in self._ready:
            slot.entered()
        self._ready.clear()
        self._taken.clear()
        waiting: list[asyncio.Future[Any]] = [*self._waiting, *self._cuts.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(SandboxError(reason))
                future.exception()  # Seen here: nobody may be waiting for it.
        self._waiting.clear()


def _parts(addresses: Collection[Address]) -> Iterator[list[Address]]:
    listed = sorted(addresses)
    for first in range(0, len(listed), REFUSED_A_MESSAGE):
        yield listed[first : first + REFUSED_A_MESSAGE]


class KeptNetwork:
    """Implements contract.NetworkProvider. on_lost: all slots that were taken lead nowhere any more."""

    def __init__(self, options: KeeperOptions, on_lost: Callable[[], None]) -> None:
        self._options = options
        self._on_lost = on_lost
        self._link: KeeperLink | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._refused: frozenset[Address] = frozenset()
        self._closed = False
        self.report = Report()

    @property
    def weaker(self) -> str | None:
        if self.report.problem is None:
            return None
        reached = "the cluster's endpoint alone" if self.report.reach is Reach.CLUSTER else "no network"
        return f"functions reach {reached}: {self.report.problem}"

    async def start(self) -> None:
        link = KeeperLink(self._options, self._on_keeper_end)
        try:
            self.report = await link.start()
            for part in _parts(self._refused):
                link.refuse(part, [])
        except BaseException:
            await link.stop()
            raise
        if self.weaker is not None:
            log.warning("%s", self.weaker)
        OUTSIDE.set(int(self.report.reach is Reach.OUTSIDE))
        self._link = link

    @property
    def keeper_pid(self) -> int:
        """0 while there is none."""
        return 0 if self._link is None else self._link.pid

    async def take(self) -> KeptSlot:
        if self._link is None:
            raise SandboxError("functions' networks are not there")
        return await self._link.take()

    def refuse(self, targets: Collection[Address]) -> None:
        """From now on exactly these TCP ports (address, port), whatever else may be reached. Raises SandboxError; then it is
        to be asked for again."""
        wanted = frozenset(targets)
        for part in _parts(wanted - self._refused):
            if self._link is not None:
                self._link.refuse(part, [])
            self._refused |= frozenset(part)
        for part in _parts(self._refused - wanted):
            if self._link is not None:
                self._link.refuse([], part)
            self._refused -= frozenset(part)

    async def close(self) -> None:
        self._closed = True
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        if self._link is not None:
            await self._link.stop()
            self._link = None

    def _on_keeper_end(self) -> None:
        log.error("the keeper of functions' networks ended; environments are replaced")
        ended, self._link = self._link, None
        OUTSIDE.set(0)
        self._on_lost()
        if not self._closed:
            self._restarting = asyncio.get_running_loop().create_task(self._restart(ended), name="network-restart")

    async def _restart(self, ended: KeeperLink | None) -> None:
        if ended is not None:
            await ended.stop()
        while self._link is None:
            await asyncio.sleep(RESTART_DELAY_S)
            try:
                await self.start()
            except (ConfigurationError, SandboxError, OSError) as error:
                log.error("functions' networks cannot be made again: %s", error)
