"""Whatever a service is asked, in every protocol that it speaks, the answer is one that AWS could give: never a 500, never none."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.aws.service_model import load_service_model
from tests.conformance.control_plane import KEY, SECRET, ControlPlane
from tests.conformance.door import Door
from tests.conformance.made_up import MadeUp, WireRequest
from tests.conformance.services.catalogue import CATALOGUE
from tests.conformance.services.service import REGION
from tests.conformance.wire import Wire
from tests.conformance.words.catalogue import WORDS
from tests.conformance.words.words import Every, Words
from tests.conftest import Cluster

EXAMPLES, SEQUENCES, PATHS, CLUSTER_EXAMPLES = 16, 24, 60, 60
AT_ONCE_MAX = 6
SERVED = {service.botocore: frozenset(service.operations()) for service in CATALOGUE}
SPOKEN = [
    (service, protocol)
    for service in sorted(SERVED)
    for protocol in ("json", "query", "rest-json")
    if protocol in load_service_model(service).protocols
]
CASES = [
    (service, protocol, operation)
    for service, protocol in SPOKEN
    for operation in sorted(load_service_model(service).operations.keys() - WORDS.get(service, Words()).unasked)
]
EVERY = [pytest.param(service, every, id=every.operation) for service, words in WORDS.items() for every in words.every]
READS = ("Get", "List", "Describe")
# Of the services' own use of it, in another thread of this process.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")


class Asked:
    """A service whose operations are asked for."""

    def __init__(self, endpoint: str, key: str, secret: str, service: str, protocol: str) -> None:
        words = WORDS.get(service, Words())
        self.model, self.protocol = load_service_model(service), protocol
        self._words, self._made = words, MadeUp(self.model, words.vocabulary)
        self._door = Door(endpoint, key, secret, service, protocol, SERVED[service])
        self._wire = Wire(service, self.model.protocols[0], endpoint=endpoint, region=REGION, key=key, secret=secret)
        self._names: dict[str, str] = {}
        self._complete = False

    def set_up(self) -> None:
        """Makes what is spoken of, as far as it may be gone."""
        if not self._complete:
            self._names, self._complete = self._words.make(self._wire), True

    def check(self, request: WireRequest) -> None:
        self._complete = self._complete and request.operation.startswith(READS)
        self._door.check(request.naming(self._names))

    def requests(self, operation: str) -> st.SearchStrategy[WireRequest]:
        return self._made.requests(self.model.operations[operation], self.protocol)

    def exactly(self, operation: str, members: dict[str, Any]) -> WireRequest:
        return self._made.exactly(self.model.operations[operation], self.protocol, members)


@pytest.fixture(scope="module")
def asked(control_plane: ControlPlane) -> Callable[[str, str], Asked]:
    """Of each service and protocol one."""
    return cache(lambda service, protocol: Asked(control_plane.endpoint, KEY, SECRET, service, protocol))


def each(strategy: st.SearchStrategy[Any], examples: int, ask: Callable[[Any], Any]) -> None:
    """Seeded and bounded. Not shrunk: what a request does depends on those before it."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def one(value: Any) -> None:
        ask(value)

    one()


@pytest.mark.parametrize(("service", "protocol", "operation"), CASES)
def test_no_request_makes_a_500(asked: Callable[[str, str], Asked], service: str, protocol: str, operation: str) -> None:
    of = asked(service, protocol)
    of.set_up()
    each(of.requests(operation), EXAMPLES if operation in SERVED[service] else 2, of.check)


@pytest.mark.parametrize(("service", "every"), EVERY)
def test_no_combination_of_values_makes_a_500(asked: Callable[[str, str], Asked], service: str, every: Every) -> None:
    of = asked(service, load_service_model(service).protocols[0])
    of.set_up()
    for values in itertools.product(*every.members.values()):
        of.check(of.exactly(every.operation, dict(zip(every.members, values, strict=True))))


@pytest.mark.parametrize(("service", "protocol"), SPOKEN)
def test_no_requests_at_once_make_a_500(asked: Callable[[str, str], Asked], service: str, protocol: str) -> None:
    """Operations that change something, on the same few names."""
    of = asked(service, protocol)
    unasked = WORDS.get(service, Words()).unasked
    names = sorted(name for name in SERVED[service] - unasked if not name.startswith(READS)) or sorted(SERVED[service])
    some = st.sampled_from(names).flatmap(of.requests)
    of.set_up()
    with ThreadPoolExecutor(AT_ONCE_MAX) as pool:
        each(st.lists(some, min_size=2, max_size=AT_ONCE_MAX), SEQUENCES, lambda requests: list(pool.map(of.check, requests)))


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_no_path_or_method_makes_a_500(asked: Callable[[str, str], Asked], method: str) -> None:
    segment = st.sampled_from(
        ["2015-03-31", "functions", "f", "..", ".", "", "%2F", "%00", "%ff", "tags", "layers", "2018-10-31", "%"]
    )
    paths = st.lists(segment, max_size=7).map(lambda found: "/" + "/".join(found))
    queries = st.sampled_from(
        ["", "&", "=", "%", "find=LayerVersion", "Qualifier=%ff", "a=b&a=c", "MaxItems=x", "MaxItems=%00"]
    )
    of = asked("lambda", "rest-json")
    each(st.tuples(paths, queries), PATHS, lambda pair: of.check(WireRequest("ListFunctions", method, pair[0], pair[1])))


def test_no_request_to_a_cluster_makes_a_500_or_hangs(cluster: Cluster) -> None:
    """Invocations among them."""
    of = Asked(cluster.endpoint, cluster.access_key_id, cluster.secret_access_key, "lambda", "rest-json")
    of.set_up()
    each(st.sampled_from(sorted(of.model.operations)).flatmap(of.requests), CLUSTER_EXAMPLES, of.check)
