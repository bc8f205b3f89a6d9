"""The keeper: makes slots ahead of need, cleans the ones that come back, and holds what they stand on. A process of its own
beside its worker, for the kernel makes them one after the other and holds up whoever asks.

All that it made ends with it: namespaces and devices with their descriptors, the host's table with its socket. `KeeperOptions`
is the first message; then the worker says `took`, `back`, `lost` and `cut` with a slot's number, `refuse` with addresses and
ports, and with those that are not refused any more.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from typing import Any

import msgspec

from services.worker.sandbox import libc, protocol
from services.worker.sandbox.network.addresses import RESOLVER_PORT
from services.worker.sandbox.network.gateway import process as gateway
from services.worker.sandbox.network.keeper import namespaces, uplink
from services.worker.sandbox.network.keeper.options import KeeperOptions, Reach, Report
from services.worker.sandbox.network.keeper.plan import Network
from services.worker.sandbox.network.keeper.router import Router
from services.worker.sandbox.network.keeper.slots import SLOTS_MAX, Slot
from services.worker.sandbox.network.keeper.stock import Stock

OFFERED = 8
"""Slots whose descriptors the worker has already, so that taking one is no question."""
LOOK_S = 5.0
QUIET_S = 0.02
_MAKE_ATTEMPTS = 100
"""Numbers to be tried for a slot: those that went last may still have their devices."""
_PAUSE_S = 1.0
"""Before what failed is tried again."""


class Keeper:
    def __init__(self, control: socket.socket, options: KeeperOptions) -> None:
        self._control = control
        self._options = options
        self._router: Router | None = None
        self._uplink: uplink.Uplink | None = None
        self._listeners: gateway.Listeners | None = None
        self._gateway_fd = -1
        self._gateway_again = 0.0
        self._numbers = deque(range(SLOTS_MAX))
        self._spare: deque[Slot] = deque()
        self._offered: dict[int, Slot] = {}
        self._in_use: dict[int, Slot] = {}
        self._dirty: deque[Slot] = deque()
        self._stock = Stock()
        self._make_again = 0.0
        self._last_taken = 0.0

    def set_up(self) -> Report:
        """Raises OSError when there cannot be slots at all."""
        if self._options.reach is Reach.NOWHERE:
            return Report()
        versions = [4, 6] if uplink.forwards_ipv6() else [4]
        try:
            self._router = Router(self._options.ports, self._options.connections_max, versions)
            self._start_gateway()
        except OSError as error:
            if self._router is not None:
                self._router.close()
                self._router = None
            return Report(problem=f"this kernel cannot keep functions' networks apart: {error}")
        try:
            self._uplink = uplink.Uplink(self._router.namespace, versions, self._options.bridges)
            self._router.open_up(self._uplink.gateways, _networks(self._options.allowed), self._closed())
        except (uplink.UnreachableError, OSError) as error:
            if self._uplink is not None:
                self._uplink.close()
                self._uplink = None
            return Report(Reach.CLUSTER, problem=str(error))
        return Report(Reach.OUTSIDE)

    def _closed(self) -> list[Network]:
        denied = _networks(self._options.denied) + uplink.own_addresses()
        return denied if self._options.attached else denied + uplink.attached_networks()

    def _start_gateway(self) -> None:
        assert self._router is not None
        if self._listeners is None:
            self._listeners = gateway.Listeners(
                endpoint=[self._router.listen(socket.SOCK_STREAM, port) for port in self._options.ports],
                resolver=self._router.listen(socket.SOCK_DGRAM, RESOLVER_PORT),
                resolver_streams=self._router.listen(socket.SOCK_STREAM, RESOLVER_PORT),
            )
        self._gateway_fd = os.pidfd_open(gateway.start(self._listeners, self._options.gateway))

    def prove(self) -> None:
        """That slots can be made. Raises OSError."""
        self._spare.append(self._make())

    # The loop

    def serve(self) -> None:
        """Until the worker hangs up."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if self._gateway_fd >= 0:
            poll.register(self._gateway_fd, select.POLLIN)
        while True:
            ready = {fd for fd, _event in poll.poll(self._patience_s() * 1000)}
            if self._control.fileno() in ready:
                message, _fds = protocol.receive_message(self._control)
                if not message:
                    return
                getattr(self, "on_" + message["op"])(message)
                continue
            if self._gateway_fd in ready:
                poll.unregister(self._gateway_fd)
                self._collect_gateway()
            if self._listeners is not None and self._gateway_fd < 0 and time.monotonic() >= self._gateway_again:
                self._start_gateway()
                poll.register(self._gateway_fd, select.POLLIN)
            self._work()

    def _collect_gateway(self) -> None:
        os.waitid(os.P_PIDFD, self._gateway_fd, os.WEXITED)
        os.close(self._gateway_fd)
        self._gateway_fd = -1
        self._gateway_again = time.monotonic() + _PAUSE_S

    def _patience_s(self) -> float:
        """How long to wait for a message. A function that has just started should have the processors: what can wait, waits
        until no slot was taken for a moment."""
        if not self._has_work():
            return _PAUSE_S if self._gateway_fd < 0 else LOOK_S
        if self._stock.is_low(len(self._spare)) or len(self._dirty) > self._stock.wanted:
            return 0.0
        return max(0.0, self._last_taken + QUIET_S - time.monotonic())

    def _has_work(self) -> bool:
        offers = bool(self._spare) and len(self._offered) < OFFERED
        return offers or bool(self._dirty) or len(self._spare) > self._stock.wanted or self._is_short()

    def _is_short(self) -> bool:
        return len(self._spare) < self._stock.wanted and time.monotonic() >= self._make_again

    def _work(self) -> None:
        """One step, so that a message waits for one step at most."""
        self._stock.settle(len(self._spare), time.monotonic())
        if self._spare and len(self._offered) < OFFERED:
            self._offer(self._spare.popleft())
        elif self._dirty:
            self._clean(self._dirty.popleft())
        elif len(self._spare) > self._stock.wanted:
            self._close(self._spare.pop())
        elif self._is_short():
            try:
                self._spare.append(self._make())
            except OSError as error:
                self._make_again = time.monotonic() + _PAUSE_S
                protocol.send_message(self._control, {"problem": f"one cannot be made: {error}"})

    def _offer(self, slot: Slot) -> None:
        self._offered[slot.number] = slot
        protocol.send_message(self._control, {"slot": slot.number}, [slot.namespace])

    def _clean(self, slot: Slot) -> None:
        if len(self._spare) >= self._stock.wanted:
            self._close(slot)
            return
        try:
            slot.clean()
        except OSError:
            self._close(slot)
            return
        self._spare.append(slot)

    def _close(self, slot: Slot) -> None:
        slot.close()
        self._numbers.append(slot.number)

    def _make(self) -> Slot:
        mtu = uplink.MTU_DEFAULT if self._uplink is None else self._uplink.mtu
        for _attempt in range(min(_MAKE_ATTEMPTS, len(self._numbers))):
            number = self._numbers.popleft()
            try:
                return Slot(number, self._router, mtu)
            except FileExistsError:
                self._numbers.append(number)
            except OSError:
                self._numbers.append(number)
                raise
        raise OSError(errno.EEXIST, "devices of slots that ended do not go away")

    # What the worker says

    def on_took(self, message: dict[str, Any]) -> None:
        slot = self._offered.pop(message["slot"])
        self._in_use[slot.number] = slot
        self._last_taken = time.monotonic()
        self._stock.taken(len(self._offered) + len(self._spare), time.monotonic())
        if self._spare:
            self._offer(self._spare.popleft())

    def on_back(self, message: dict[str, Any]) -> None:
        self._dirty.append(self._in_use.pop(message["slot"]))

    def on_lost(self, message: dict[str, Any]) -> None:
        """Something may still run in it: it is nobody's any more. Its number stays its own."""
        self._in_use.pop(message["slot"]).close()

    def on_cut(self, message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"cut": message["slot"]}
        try:
            self._in_use[message["slot"]].cut()
        except OSError as error:
            answer["error"] = str(error)
        protocol.send_message(self._control, answer)

    def on_refuse(self, message: dict[str, Any]) -> None:
        if self._router is not None and self._uplink is not None:
            more, no_more = (
                {(ipaddress.ip_address(address), port) for address, port in message[kind]} for kind in ("more", "no_more")
            )
            self._router.refuse(more, no_more)

    def close(self) -> None:
        if self._uplink is not None:
            self._uplink.close()
        if self._router is not None:
            self._router.close()


def _networks(texts: tuple[str, ...]) -> list[Network]:
    return [ipaddress.ip_network(text) for text in texts]


def main(control_fd: int) -> None:
    libc.set_parent_death_signal(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    first, _fds = protocol.receive_message(control)
    if not first:
        return
    keeper = Keeper(control, msgspec.convert(first, KeeperOptions))
    try:
        try:
            namespaces.make_settings_writable()
            report = keeper.set_up()
            keeper.prove()
        except OSError as error:
            report = Report(error=str(error))
        protocol.send_message(control, {"report": msgspec.to_builtins(report)})
        if report.error is None:
            keeper.serve()
    finally:
        keeper.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
