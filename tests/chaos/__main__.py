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
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import msgspec
import redis
from botocore.config import Config
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.chaos.disturbances import ENGINES, Disturbance, Place, catalogue, hold, set_clock
from tests.chaos.ledger import untold
from tests.chaos.load import Load
from tests.chaos.report import TARGET, Result, render
from tests.chaos.traffic import SOURCE, FailingEvents, LimitedEvents, Records, make_function
from tests.conftest import Cluster, running_cluster

INSIDE = "LAMBDAD_CHAOS_INSIDE"
FUNCTION = "chaos"
DISK_BYTES = 768 * 1024**2
"""Of each engine's file system."""
END_DEADLINE_S = 180.0
RECOVER_DEADLINE_S = 150.0
LEAD_DEADLINE_S = 60.0
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
    results = run_all(chosen)
    if not options.names or options.keep:
        keep(results)
    bad = [result for result in results if not result.good]
    for result in bad:
        tell(f"NOT GOOD {result.name}: {result.kinds} {result.wrong[:5]} recovery {result.recovery_s}")
    tell(f"{len(results) - len(bad)} of {len(results)} good")
    return 1 if bad else 0


def run_all(chosen: Sequence[Disturbance]) -> list[Result]:
    results = [Result(each.name, each.what, skipped=why) for each in chosen if (why := each.needs()) is not None]
    possible = [each for each in chosen if each.needs() is None]
    clocked = [each for each in possible if each.name.startswith("clock")]
    with tempfile.TemporaryDirectory(prefix="lambdad-chaos-") as folder:
        for group, clock in (([each for each in possible if each not in clocked], None), (clocked, Path(folder) / "clock")):
            if group:
                with place(clock) as found:
                    results += [run(found, each) for each in group]
    return results


@contextlib.contextmanager
def place(clock: Path | None) -> Iterator[Place]:
    """clock: the file that is to move the cluster's clock; None for a cluster whose clock is the machine's."""
    added = {}
    if clock is not None:
        clock.parent.chmod(0o755)
        set_clock(clock, 0)
        library = clock.with_suffix(".so")
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True, timeout=60)
        added = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(clock)}
    with running_cluster(prepare=small_disks, environment=added) as cluster:
        streams = redis.Redis.from_url(
            cluster.environment["REDIS_URL"],
            decode_responses=True,
            retry=Retry(ConstantBackoff(0.2), 300),
            retry_on_error=[redis.ConnectionError, redis.TimeoutError],
            socket_timeout=5,
        )
        with streams:
            yield Place(cluster, streams, clock)


def small_disks(data_dir: Path) -> None:
    """A file system of its own for each engine, as small as a quota; it goes with this process's mount namespace."""
    if INSIDE not in os.environ:
        return
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    for engine in ENGINES:
        (data_dir / engine).mkdir(exist_ok=True)
        options = f"size={DISK_BYTES},mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(data_dir / engine)], check=True, timeout=10)


def run(found: Place, each: Disturbance) -> Result:
    """One disturbance under a load of its own."""
    cluster, client = found.cluster, client_of(found.cluster)
    cluster.ready()
    if not any(function["FunctionName"] == FUNCTION for function in client.list_functions()["Functions"]):
        make_function(client, FUNCTION, SOURCE)
    more = (FailingEvents(client, found.redis), LimitedEvents(client, found.redis), Records(client, found.redis, cluster.kafka))
    load, recovery_s = Load(client, found.redis, FUNCTION, *more), None
    with load:
        load.wait_until_whole(LEAD_DEADLINE_S)
        with contextlib.suppress(AssertionError):
            with each.apply(found):
                if not each.name.endswith(("killed", "wiped", "upgraded", "restarted")):
                    hold()
            since = time.monotonic()
            load.wait_until_whole(RECOVER_DEADLINE_S)
            recovery_s = time.monotonic() - since
    kinds = {count.name: (count.accepted, count.lost, count.duplicates) for count in load.counts(END_DEADLINE_S)}
    kinds[load.calls.name] = (len(load.calls.answered), 0, 0)
    cluster.ready()
    gaps = [f"the ledger does not say how {request_id} ended" for request_id in untold(cluster, load.accepted)]
    result = Result(each.name, each.what, None, kinds, (*load.wrong(), *gaps), recovery_s)
    load.close()
    tell(f"{'ok  ' if result.good else 'BAD '} {each.name}: {result.totals} wrong {len(result.wrong)} recovery {recovery_s}")
    return result


def client_of(cluster: Cluster) -> Any:
    return boto3.client(
        "lambda",
        endpoint_url=cluster.endpoint,
        region_name="us-east-1",
        aws_access_key_id=cluster.access_key_id,
        aws_secret_access_key=cluster.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30, connect_timeout=5, max_pool_connections=20),
    )


def keep(results: Sequence[Result]) -> None:
    """The page, and what it was made of: rows that were not run now stay as they were."""
    before = msgspec.json.decode(RESULTS.read_bytes(), type=list[Result]) if RESULTS.exists() else []
    now = {result.name for result in results}
    names = {each.name for each in catalogue()}
    kept = [*(result for result in before if result.name not in now and result.name in names), *results]
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}"
    TARGET.write_text(render(kept, when=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine, deadline_s=END_DEADLINE_S))


def tell(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
