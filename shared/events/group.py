"""One member of a Kafka consumer group that settles records out of order and commits only what is settled.

The reader survives rebalances and broker restarts. At-least-once: a record that was fetched but not settled when its
partition moves away, or when the process dies, is fetched again by the next owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError

from shared.events import departed
from shared.events.forgetting import forget_often
from shared.events.kafka import client_arguments
from shared.events.offsets import OffsetTracker, OrderedTracker, Tracker, decode_settled
from shared.settings.kafka import KafkaCluster
from shared.telemetry.supervision import supervise

log = logging.getLogger("lambdad.events.group")

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
COMMIT_INTERVAL_S = 0.2
COMMIT_TIMEOUT_S = 5.0
ADMIN_TIMEOUT_S = 10.0
LAG_TIMEOUT_S = 5.0
FETCH_BYTES_MAX = 16 * 1024 * 1024
PARTITION_FETCH_BYTES = 512 * 1024
BUSY_FETCH_WAIT_MS = 20
BUSY_RECORDS = 8
PROMPT_BYTES, PROMPT_WAIT_MS = 8 * 1024, 4
BEHIND_BYTES = 64 * 1024
"""From BUSY_RECORDS a fetch on, the broker is asked to collect for a moment, or so many bytes: a fetch costs as much as running
some of them. A reader that has much at hand has it collect more, and longer (BUSY_FETCH_WAIT_MS): nothing waits for that."""
BUSY_S = 0.2
COLLECTED_BYTES = 1024 * 1024
"""A fetch of a reader that nobody waits for ends with so much before its time."""
SESSION_TIMEOUT_MS = 9_000
HEARTBEAT_MS = 1_000
"""How soon a member hears that another one has come or gone, and everybody has to wait for the last to hear it."""
METADATA_AGE_MS = 10_000
"""How soon a topic that was made anew, or got more partitions, is noticed."""
POLL_INTERVAL_MS = 3_600_000
"""How long a member may go without fetching: full windows are normal here, and heartbeats show that it lives."""


Start = Literal["earliest", "latest"] | int


class ReaderOptions(msgspec.Struct, frozen=True):
    """cluster: where the topics are. group_id: the consumer group.

    start: where a partition is read from that has no committed offset; a number is Unix
    milliseconds. ordered: records of a partition are settled in their order.

    fetch_wait_ms: how long the broker may hold a fetch that finds nothing; what arrives meanwhile is sent at once.
    collect_ms: for readers that nobody waits for: while there is data, the broker collects for so long.
    drain_s: how long a partition that moves away is waited for to settle what is running.
    forget: whether nobody needs a record that is settled: it leaves Kafka's disk.
    """

    cluster: KafkaCluster
    group_id: str
    client_id: str
    start: Start = "earliest"
    ordered: bool = False
    fetch_wait_ms: int = 2_500
    collect_ms: int = 0
    drain_s: float = 2.0
    forget: bool = False


class GroupReader:
    """Fetch, settle, commit. Use as an async context manager; `fetch` from one task, `settle` from any on the same loop."""

    def __init__(
        self,
        topics: Sequence[str],
        options: ReaderOptions,
        *,
        drain: Callable[[], Awaitable[None]] | None = None,
        on_placed: Callable[[Collection[TopicPartition]], None] | None = None,
    ) -> None:
        """drain: waits until what runs for the partitions has ended; until every fetched record is settled by default.

        on_placed: told, whenever the group has given this member its place, which partitions it has had without a break:
        what was fetched of any other is forgotten here and comes again, to this member or to another one.
        """
        self._drain = drain or self._settle_all
        self._on_placed = on_placed
        self._failure: Exception | None = None
        self._next_fetched: dict[TopicPartition, int] = {}
        """Of ordered partitions: where the consumer goes on, unless it was told to go elsewhere."""
        self._topics = list(topics)
        self._options = options
        self._trackers: dict[TopicPartition, Tracker] = {}
        self._tracker: type[OrderedTracker] | type[OffsetTracker] = OrderedTracker if options.ordered else OffsetTracker
        self._busy = False
        self._idle_wait_ms = options.fetch_wait_ms
        self._busy_s = BUSY_S + options.collect_ms / 1_000
        self._settled = asyncio.Event()
        self._drained = asyncio.Event()
        self._commit_lock = asyncio.Lock()
        self._committed_at: dict[TopicPartition, int] = {}
        self._helpers: list[asyncio.Task[None]] = []
        self._assigned = asyncio.Event()
        self.consumer = AIOKafkaConsumer(
            **client_arguments(options.cluster),
            group_id=options.group_id,
            client_id=departed.named(options.client_id),
            enable_auto_commit=False,
            auto_offset_reset=options.start if isinstance(options.start, str) else "earliest",
            fetch_max_wait_ms=options.fetch_wait_ms,
            fetch_min_bytes=1,
            fetch_max_bytes=FETCH_BYTES_MAX,
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            rebalance_timeout_ms=SESSION_TIMEOUT_MS + int(options.drain_s * 1_000),
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS,
            metadata_max_age_ms=METADATA_AGE_MS,
            # How often the fetcher looks around although nothing happened; every event wakes it anyway.
            consumer_timeout_ms=5_000,
        )

    async def __aenter__(self) -> GroupReader:
        """Raises KafkaError, OSError or TimeoutError when the group cannot be joined."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await departed.take_out(self._options.cluster, self._options.group_id)
                self.consumer.subscribe(self._topics, listener=_Listener(self))
                await self.consumer.start()
        except BaseException:
            await self._stop_consumer()
            raise
        self._helpers.append(supervise(f"offset-commits {self._options.group_id}", self._commit_often))
        if self._options.forget:
            self._helpers.append(supervise(f"forgetting {self._options.group_id}", self._forget_often))
        return self

    async def __aexit__(self, *_: object) -> None:
        for helper in self._helpers:
            helper.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        with contextlib.suppress(KafkaError, TimeoutError):
            await self.commit()
        await self._stop_consumer()

    async def _stop_consumer(self) -> None:
        with contextlib.suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self.consumer.stop()

    def is_ready(self) -> bool:
        """True while partitions are assigned (perhaps none), false before and during a rebalance."""
        return self._assigned.is_set()

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self.consumer.assignment())

    async def fetch(self, *, wait_s: float, behind: bool = False) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Records to be run, in order a partition; each must be settled. Empty when nothing came within wait_s seconds.
        behind: there is enough to do for now, and what comes next is in no hurry.

        Raises KafkaError, OSError or TimeoutError when the consumer cannot go on: leave the context and open a new reader.
        """
        if self._failure is not None:
            raise self._failure
        # No bound on their number: a partition that is left half read is not fetched again before the others' fetch
        # returns. What one call can bring is bounded in bytes.
        fetched = await self._getmany(self._busy_s if self._busy else wait_s)
        if not fetched and self._busy:
            self._wait_for_data(busy=False)
            fetched = await self._getmany(wait_s)
        elif fetched:
            self._wait_for_data(busy=True, many=sum(map(len, fetched.values())) >= BUSY_RECORDS, behind=behind)
        if not self._assigned.is_set():
            await self._assigned.wait()
        if self._failure is not None:
            raise self._failure
        fresh = {}
        mine = self.consumer.assignment()
        for partition, records in fetched.items():
            if partition not in mine:
                continue
            tracker = self._trackers.get(partition)
            if self._options.ordered:
                if tracker is not None and records[0].offset < self._next_fetched.get(partition, 0):
                    self._forget_old_log(partition)
                    tracker = None
                self._next_fetched[partition] = records[-1].offset + 1
            if tracker is None:
                tracker = self._trackers[partition] = self._tracker(records[0].offset)
            wanted = tracker.begin_all(records)
            if wanted:
                fresh[partition] = wanted
        return fresh

    def _forget_old_log(self, partition: TopicPartition) -> None:
        """The consumer went back by itself: what it read or committed before is no more, as when a topic was deleted and made
        anew."""
        log.warning("%s reads %s anew: its log is another one", self._options.group_id, partition)
        del self._trackers[partition]
        if self._on_placed is not None:
            self._on_placed(set(self._trackers))

    def wait_when_idle(self, wait_ms: int) -> None:
        """How long the broker may hold a fetch while there is no data: shorter where paused partitions come back soon."""
        if wait_ms != self._idle_wait_ms:
            self._idle_wait_ms = wait_ms
            self._wait_for_data(busy=self._busy)

    async def _getmany(self, wait_s: float) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        fetched: Mapping[TopicPartition, list[ConsumerRecord]] = await self.consumer.getmany(timeout_ms=int(wait_s * 1_000))
        return fetched

    def _wait_for_data(self, *, busy: bool, many: bool = False, behind: bool = False) -> None:
        """How long the broker may hold the next fetch. aiokafka has one fetch in flight a broker, and a partition that was
        not part of it waits for it: so fetches are short while there is data and long only when there is none."""
        self._busy = busy
        fetcher = self.consumer._fetcher
        if fetcher is not None:
            wait_ms, size_bytes = self._idle_wait_ms, 1
            if busy and self._options.collect_ms:
                wait_ms, size_bytes = self._options.collect_ms, COLLECTED_BYTES
            elif busy and behind:
                wait_ms, size_bytes = BUSY_FETCH_WAIT_MS, BEHIND_BYTES
            elif busy and many:
                wait_ms, size_bytes = PROMPT_WAIT_MS, PROMPT_BYTES
            elif busy:
                wait_ms = BUSY_FETCH_WAIT_MS
            fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = wait_ms, size_bytes

    def settle(self, partition: TopicPartition, offset: int) -> None:
        """The record is done with: its offset may be committed once all before it are. Ignored for partitions given away."""
        tracker = self._trackers.get(partition)
        if tracker is not None:
            tracker.settle(offset)
            self._settled.set()
            if not tracker.unsettled:
                self._drained.set()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Fetch from this offset, which is not settled, on again; of an ordered partition. Ignored for one given away."""
        tracker = self._trackers.get(partition)
        if isinstance(tracker, OrderedTracker) and offset >= tracker.position:
            tracker.rewind(offset)
            self._next_fetched.pop(partition, None)
            with contextlib.suppress(IllegalStateError):
                self.consumer.seek(partition, offset)

    async def lag(self) -> dict[TopicPartition, int]:
        """How many offsets each of this member's partitions has that are not settled. Raises KafkaError or TimeoutError."""
        async with asyncio.timeout(LAG_TIMEOUT_S):
            ends = await self.consumer.end_offsets(list(self.consumer.assignment()))
            behind = {}
            for partition, end in ends.items():
                tracker = self._trackers.get(partition)
                position = tracker.position if tracker is not None else await self.consumer.position(partition)
                behind[partition] = max(0, end - position)
        return behind

    def pause(self, partition: TopicPartition) -> None:
        with contextlib.suppress(IllegalStateError):
            self.consumer.pause(partition)

    def resume(self, partition: TopicPartition) -> None:
        with contextlib.suppress(IllegalStateError):
            self.consumer.resume(partition)

    async def commit(self) -> None:
        """Commit what is settled. Raises KafkaError or TimeoutError; what could not be committed is tried again later."""
        async with self._commit_lock:
            assigned = self.consumer.assignment()
            taken: dict[TopicPartition, OffsetAndMetadata] = {}
            for partition, tracker in self._trackers.items():
                if partition in assigned and (change := tracker.take_commit()) is not None:
                    offset, metadata = change
                    taken[partition] = OffsetAndMetadata(offset, metadata)
            if not taken:
                return
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await self.consumer.commit(taken)
            except BaseException:
                for partition in taken:
                    if partition in self._trackers:
                        self._trackers[partition].commit_failed()
                raise
            if self._options.forget:
                self._committed_at |= {partition: found.offset for partition, found in taken.items()}

    async def _forget_often(self) -> None:
        await forget_often(self._options.cluster, self._options.client_id, lambda: self._committed_at)

    async def _commit_often(self) -> None:
        while True:
            await self._settled.wait()
            await asyncio.sleep(COMMIT_INTERVAL_S)
            self._settled.clear()
            try:
                await self.commit()
            except (KafkaError, TimeoutError) as error:
                self._settled.set()
                # A rebalance or a broker that restarts: the next round commits it, or the next owner runs it again.
                log.info("commit of %s was put off: %r", self._options.group_id, error)

    async def revoked(self) -> None:
        """Called before partitions move: give what runs a short time to settle, then commit."""
        self._assigned.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.drain_s):
                await self._drain()
        with contextlib.suppress(KafkaError, TimeoutError):
            await self.commit()

    async def _settle_all(self) -> None:
        while any(tracker.unsettled for tracker in self._trackers.values()):
            self._drained.clear()
            await self._drained.wait()

    async def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Called when partitions have come: take up what an earlier owner committed; forget what has gone."""
        mine = set(partitions)
        self._next_fetched.clear()
        for partition in [p for p in self._trackers if p not in mine]:
            del self._trackers[partition]
        kept = set(self._trackers)
        try:
            kept -= await self._take_up(mine)
        except (KafkaError, OSError, TimeoutError) as error:
            # Reading on from a guess could skip records or read a whole topic again: the next `fetch` gives this reader up.
            log.warning("%s does not know where to read: %r", self._options.group_id, error)
            self._failure = error
        if self._on_placed is not None:
            self._on_placed(kept)
        self._assigned.set()

    async def _take_up(self, mine: Collection[TopicPartition]) -> set[TopicPartition]:
        """Go on from the committed offsets. The partitions that another member has had meanwhile.

        Raises KafkaError, OSError or TimeoutError when it cannot be known where to go on."""
        committed_offsets = await self._committed(mine)
        taken: set[TopicPartition] = set()
        if self._options.start != "earliest":
            taken = {p for p in mine if p not in committed_offsets or committed_offsets[p].offset < 0}
            await self._place(taken)
        for partition, committed in committed_offsets.items():
            if committed.offset < 0:
                continue
            tracker = self._trackers.get(partition)
            if isinstance(tracker, OffsetTracker):
                tracker.skip_to(committed.offset)
            elif tracker is None or committed.offset > tracker.position:
                # Somebody else committed it: what was fetched here before was run there, or is to be run after it.
                settled = decode_settled(committed.offset, committed.metadata or "")
                self._trackers[partition] = self._tracker(committed.offset, settled)
                self._next_fetched[partition] = committed.offset
                taken.add(partition)
        return taken

    async def _place(self, partitions: Collection[TopicPartition]) -> None:
        """Commit where partitions without a committed offset start, so that a restart does not start anew elsewhere."""
        if not partitions:
            return
        start = self._options.start
        async with asyncio.timeout(ADMIN_TIMEOUT_S):
            ends = await self.consumer.end_offsets(list(partitions))
            offsets = ends
            if not isinstance(start, str):
                found = await self.consumer.offsets_for_times(dict.fromkeys(partitions, start))
                offsets = {p: found[p].offset if found.get(p) is not None else ends[p] for p in partitions}
            await self.consumer.commit({p: OffsetAndMetadata(offset, "") for p, offset in offsets.items()})
        for partition, offset in offsets.items():
            self.consumer.seek(partition, offset)
            # What the consumer fetched before it was told where to begin is not to be run.
            self._trackers[partition] = self._tracker(offset)

    async def _committed(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, Any]:
        """Committed offsets with their metadata. {} when they cannot be had and the consumer itself finds where to go on, which
        at worst runs settled records again; otherwise raises KafkaError, OSError or TimeoutError."""
        if not partitions:
            return {}
        admin = AIOKafkaAdminClient(**client_arguments(self._options.cluster), client_id=self._options.client_id)
        try:
            async with asyncio.timeout(ADMIN_TIMEOUT_S):
                await admin.start()
                return dict(await admin.list_consumer_group_offsets(self._options.group_id, partitions=list(partitions)))
        except (KafkaError, OSError, TimeoutError) as error:
            if self._options.start != "earliest":
                # Taken for a partition without an offset, it would begin at the end or at its timestamp again.
                raise
            log.warning("the settled records of %s could not be read: %r", self._options.group_id, error)
            return {}
        finally:
            with contextlib.suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await admin.close()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, reader: GroupReader) -> None:
        self._reader = reader

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._reader.revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._reader.assigned(assigned)
