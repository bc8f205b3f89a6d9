"""The load of `make chaos`: every kind of traffic there is."""

from __future__ import annotations

from tests.chaos.load import Load
from tests.chaos.place import Place
from tests.chaos.traffic.destinations import Destinations
from tests.chaos.traffic.invocations import Calls, Events, FailingEvents, LimitedEvents
from tests.chaos.traffic.messages import Messages, OrderedMessages
from tests.chaos.traffic.published import BusEvents, TopicMessages
from tests.chaos.traffic.records import Records
from tests.chaos.traffic.schedules import Schedules

KINDS = (
    Events, FailingEvents, LimitedEvents, Destinations, Records, Messages, OrderedMessages, TopicMessages, BusEvents, Schedules,
)  # fmt: skip


def everything(place: Place, *, retries: bool = True) -> Load:
    """retries: also of what fails, which takes a minute where no setting makes the pauses shorter."""
    return Load(Calls(place), *(kind(place) for kind in KINDS if retries or kind is not FailingEvents))
