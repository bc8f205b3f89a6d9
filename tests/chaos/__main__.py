"""`make chaos`: everything that can be done to a cluster, one after the other, under a load that is followed event by event.

    python -m tests.chaos [PART OF A NAME ...] [--list] [--keep]

Exits with 1 when anything was lost, wrong, or did not come back. Without names the page is written anew; with names those rows alone
are run, and shown. --keep writes them into the page, too.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from deploy.local.ports import choose
from tests.chaos.address import Address
from tests.chaos.census import Census, Processes
from tests.chaos.disturbances import ENGINES, Disturbance, catalogue, hold, set_clock
from tests.chaos.everything import everything
from tests.chaos.ledger import untold
from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.report import LEFT, TARGET, Result, render
from tests.conftest import running_cluster

INSIDE = "LAMBDAD_CHAOS_INSIDE"
DISK_BYTES = 768 * 1024**2
"""Of each engine's file system."""
END_DEADLINE_S = 180.0
RECOVER_DEADLINE_S = 150.0
LEAD_DEADLINE_S = 60.0
AT_ONCE = ("killed", "wiped", "wiped but for queues", "upgraded", "restarted", "while delivering")
"""What is done in a moment, and does not last."""
RESULTS = TARGET.with_suffix(".json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="those alone whose name has one of these in it")
    parser.add_argument("--list", action="store_true", help="tell what there is, and do nothing")
    parser.add_argument("--keep", action="store_true", help="write the named ones into the page, too")
    options = parser.parse_args()
    chosen = [each for each in catalogue() if not options.names or any(name in each.name for name in options.names)]
    if options.list:
        for each in chosen:
            tell(f"{each.name}: {each.what}" + (f" (not here: {why})" if (why := each.needs()) else ""))
        return 0
    if INSIDE not in os.environ and os.geteuid() == 0 and shutil.which("unshare") is not None:
        # Loopback, mounts and packet filters of its own: nothing of this can reach anything else.
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, "-m", "tests.chaos", *sys.argv[1:]])
    if INSIDE in os.environ:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    os.environ["LAMBDAD_ENDS_WITH"] = str(os.getpid())
    # Minutes as seconds: what waits for its next try is not to be told from what is lost.
    os.environ |= {"LAMBDAD_EVENTS__RETRY_DELAYS_S": "[1, 2]", "LAMBDAD_EVENTS__BACKOFF_DELAYS_S": "[1, 2, 4, 8]"}
    kept = options.keep or not options.names
    # After each, so that a run that is ended has told what it saw.
    results = run_all(chosen, keep if kept else lambda results: None, counted=kept)
    bad = [result for result in results if not result.good]
    for result in bad:
        tell(f"NOT GOOD {result.name}: {result.kinds} {result.wrong[:5]} recovery {result.recovery_s}")
    tell(f"{len(results) - len(bad)} of {len(results)} good")
    return 1 if bad else 0


def run_all(chosen: Sequence[Disturbance], told: Callable[[list[Result]], None], *, counted: bool) -> list[Result]:
    """told: is given all results whenever there is one more. counted: count what is left in the end, too, which takes half a minute."""
    results = [Result(each.name, each.what, skipped=why) for each in chosen if (why := each.needs()) is not None]
    possible = [each for each in chosen if each.needs() is None]
    clocked = [each for each in possible if each.name.startswith("clock")]
    with tempfile.TemporaryDirectory(prefix="lambdad-chaos-") as folder:
        for group, clock in (([each for each in possible if each not in clocked], None), (clocked, Path(folder) / "clock")):
            if group:
                with place(clock) as found:
                    census = Census(found.cluster, found.redis, by_network=True)
                    before = settled(found, census) if counted and clock is None else None
                    with everything(found).opened() as load:
                        for each in group:
                            census.remember(Processes(census.worker_pid()))
                            results.append(run(found, load, each))
                            told(results)
                    if before is not None:
                        results.append(left(census, before))
                        told(results)
    return results


def settled(found: Place, census: Census) -> dict[str, int]:
    """What is made once and kept (connections, a zygote) is there before anything is counted."""
    with everything(found).opened() as load, load.running():
        load.wait_until_whole()
    return census.settled()


def left(census: Census, before: dict[str, int]) -> Result:
    more = tuple(f"{name}: {count}" for name, count in census.more_than(before).items())
    tell(f"{'BAD ' if more else 'ok  '} {LEFT}: {more or before}")
    return Result(LEFT, f"{', '.join(before)}: as before (I8)", wrong=more, recovery_s=0.0)


@contextlib.contextmanager
def place(clock: Path | None) -> Iterator[Place]:
    """clock: the file that is to move the cluster's clock; None for a cluster whose clock is the machine's."""
    worker_port = choose(set())
    # A worker that is called over the network, as one on a host of its own is: that link can be cut.
    added = {"LAMBDAD_WORKER__HOST": "127.0.0.1", "LAMBDAD_WORKER__PORT": str(worker_port)}
    if clock is not None:
        clock.parent.chmod(0o755)
        set_clock(clock, 0)
        library = clock.with_suffix(".so")
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=60)
        added |= {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(clock)}
    with Address().listening() as address, running_cluster(prepare=small_disks, environment=added) as cluster:
        found = Place(cluster, address, clock=clock, worker_port=worker_port)
        with contextlib.closing(found):
            yield found


def small_disks(data_dir: Path) -> None:
    """A file system of its own for each engine, as small as a quota; it goes with this process's mount namespace."""
    if INSIDE not in os.environ:
        return
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    for engine in ENGINES:
        (data_dir / engine).mkdir(exist_ok=True)
        options = f"size={DISK_BYTES},mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data_dir / engine)], check=True, timeout=10)


def run(found: Place, load: Load, each: Disturbance) -> Result:
    """One disturbance."""
    began = time.monotonic()
    found.cluster.ready()
    recovery_s = None
    with load.running():
        try:
            load.wait_until_whole(LEAD_DEADLINE_S)
            with each.apply(found):
                if not each.name.endswith(AT_ONCE):
                    hold()
            since = time.monotonic()
            load.wait_until_whole(RECOVER_DEADLINE_S)
            recovery_s = time.monotonic() - since
        except AssertionError as error:
            tell(f"{each.name}: {error}")
    counts = load.counts(END_DEADLINE_S)
    kinds = {count.name: (count.accepted, count.lost, count.duplicates) for count in counts}
    kinds[load.calls.name] = (len(load.calls.answered), 0, 0)
    gaps = [f"the ledger does not say how {request_id} ended" for request_id in untold(found.cluster, load.request_ids)]
    wiped = sum(count.wiped for count in counts)
    result = Result(each.name, each.what, None, kinds, (*load.wrong(), *gaps), recovery_s, wiped)
    took_s = time.monotonic() - began
    tell(
        f"{'ok  ' if result.good else 'BAD '} {each.name}: {result.totals} {wiped=} wrong {len(result.wrong)} {recovery_s=} {took_s=:.0f}"
    )
    return result


def keep(results: Sequence[Result]) -> None:
    """The page, and what it was made of: rows that were not run now stay as they were."""
    before = msgspec.json.decode(RESULTS.read_bytes(), type=list[Result]) if RESULTS.exists() else []
    now = {result.name for result in results}
    names = {*(each.name for each in catalogue()), LEFT}
    kept = [*(result for result in before if result.name not in now and result.name in names), *results]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}"
    TARGET.write_text(render(kept, when=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine, deadline_s=END_DEADLINE_S))


def tell(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
