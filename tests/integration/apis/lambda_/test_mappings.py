"""Event source mappings of every kind of source: what is shown, kept, changed and refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from shared.aws.protocols.rest_json import serialize_reply
from shared.aws.service_model import load_service_model
from shared.aws.validation import validate
from shared.domain.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceInUseException,
    ResourceNotFoundException,
)
from shared.domain.mappings import ErrorHandling, EventSourceMapping
from tests.integration.registry.support import Control

MODEL = load_service_model()
HERE = "us-east-1:000000000000"
QUEUE = f"arn:aws:sqs:{HERE}:orders"
KINESIS = f"arn:aws:kinesis:{HERE}:stream/orders"
DYNAMODB = f"arn:aws:dynamodb:{HERE}:table/orders/stream/2026-01-01T00:00:00.000"
CLUSTER = "arn:aws:kafka:" + HERE + ":cluster/{}/8f2f2b6c-0000-4000-8000-000000000000-1"
BROKER = f"arn:aws:mq:{HERE}:broker:rabbit:b-8f2f2b6c-0000-4000-8000-000000000000"
DATABASE = f"arn:aws:rds:{HERE}:cluster:documents"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:one"
BASIC = [{"Type": "BASIC_AUTH", "URI": SECRET}]

SQS: dict[str, Any] = {"EventSourceArn": QUEUE}
STREAM: dict[str, Any] = {"EventSourceArn": KINESIS, "StartingPosition": "LATEST"}
TABLE: dict[str, Any] = {"EventSourceArn": DYNAMODB, "StartingPosition": "LATEST"}
MSK: dict[str, Any] = {"EventSourceArn": CLUSTER.format("lambdad"), "Topics": ["orders"], "StartingPosition": "TRIM_HORIZON"}
OWN: dict[str, Any] = {
    "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["one.example:9092", "two.example:9092"]}},
    "Topics": ["orders"],
    "StartingPosition": "LATEST",
    "SourceAccessConfigurations": [{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}],
}
OURS = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["elsewhere.example:9092", "localhost:9092"]}}
"""One of them leads to the Kafka that lambdad runs on."""
MQ: dict[str, Any] = {"EventSourceArn": BROKER, "Queues": ["orders"], "SourceAccessConfigurations": BASIC}
DOCUMENTDB: dict[str, Any] = {
    "EventSourceArn": DATABASE,
    "StartingPosition": "LATEST",
    "SourceAccessConfigurations": BASIC,
    "DocumentDBEventSourceConfig": {"DatabaseName": "shop"},
}
EVERY = {"sqs": SQS, "kinesis": STREAM, "dynamodb": TABLE, "msk": MSK, "own": OWN, "mq": MQ, "documentdb": DOCUMENTDB}
ALWAYS = {"UUID", "BatchSize", "FunctionArn", "LastModified", "State", "StateTransitionReason", "EventSourceMappingArn"}
STREAM_KEYS = {
    "BisectBatchOnFunctionError", "DestinationConfig", "EventSourceArn", "FunctionResponseTypes", "LastProcessingResult",
    "MaximumBatchingWindowInSeconds", "MaximumRecordAgeInSeconds", "MaximumRetryAttempts", "ParallelizationFactor",
    "StartingPosition", "TumblingWindowInSeconds",
}  # fmt: skip
KEYS = {
    "sqs": {"EventSourceArn", "FunctionResponseTypes", "MaximumBatchingWindowInSeconds"},
    "kinesis": STREAM_KEYS,
    "dynamodb": STREAM_KEYS,
    "msk": {"AmazonManagedKafkaEventSourceConfig", "DestinationConfig", "EventSourceArn", "LastProcessingResult",
            "StartingPosition", "Topics"},
    "own": {"SelfManagedKafkaEventSourceConfig", "SelfManagedEventSource", "DestinationConfig", "LastProcessingResult",
            "SourceAccessConfigurations", "StartingPosition", "Topics"},
    "mq": {"EventSourceArn", "LastProcessingResult", "Queues", "SourceAccessConfigurations"},
    "documentdb": {"DocumentDBEventSourceConfig", "EventSourceArn", "LastProcessingResult", "SourceAccessConfigurations",
                   "StartingPosition"},
}  # fmt: skip


async def create(control: Control, source: dict[str, Any], name: str | None = None, **more: Any) -> dict[str, Any]:
    """As a client would send it: through the service model's validation, and back through its serialization."""
    request = {"FunctionName": name or await control.create(), **source, **more}
    operation = MODEL.operations["CreateEventSourceMapping"]
    validate(operation, request)
    reply = await control("CreateEventSourceMapping", **request)
    assert serialize_reply(operation, reply).status == 202
    return reply


async def kept(control: Control, created: dict[str, Any]) -> EventSourceMapping:
    return next(one for one in await control.registry.mappings.list_all() if one.uuid == created["UUID"])


@pytest.mark.parametrize("kind", EVERY)
async def test_each_source_shows_its_own_settings_and_their_defaults(control: Control, kind: str) -> None:
    created = await create(control, EVERY[kind])
    assert created.keys() == ALWAYS | KEYS[kind]
    assert created["BatchSize"] == (10 if kind == "sqs" else 100)
    assert created["StateTransitionReason"] == ("User action" if kind in ("kinesis", "dynamodb") else "USER_INITIATED")
    assert created.get("LastProcessingResult") == (None if kind == "sqs" else "No records processed")
    assert await control("GetEventSourceMapping", UUID=created["UUID"]) == created
    assert await control("GetEventSourceMapping", UUID=created["UUID"].upper()) == created
    assert (await kept(control, created)).batching_window_s == (0.0 if kind in ("sqs", "kinesis", "dynamodb") else 0.5)


@pytest.mark.parametrize(
    ("source", "sent"),
    [
        (SQS, {"BatchSize": 100, "MaximumBatchingWindowInSeconds": 5, "ScalingConfig": {"MaximumConcurrency": 2},
               "FunctionResponseTypes": ["ReportBatchItemFailures"], "MetricsConfig": {"Metrics": ["EventCount"]},
               "FilterCriteria": {"Filters": [{"Pattern": '{"body": ["plain"]}'}]}, "KMSKeyArn": f"arn:aws:kms:{HERE}:key/k"}),
        (SQS, {"ProvisionedPollerConfig": {"MinimumPollers": 2, "MaximumPollers": 10_000}}),
        (STREAM, {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1_700_000_000, "ParallelizationFactor": 10,
                  "TumblingWindowInSeconds": 900, "MaximumRecordAgeInSeconds": 604_800, "MaximumRetryAttempts": 10_000,
                  "BisectBatchOnFunctionError": True, "DestinationConfig": {"OnFailure": {"Destination": f"arn:aws:sns:{HERE}:t"}}}),
        (TABLE, {"FilterCriteria": {"Filters": [{"Pattern": '{"dynamodb": {"Keys": {"id": {"S": ["a"]}}}}'}]}}),
        (MSK, {"ProvisionedPollerConfig": {"MinimumPollers": 1, "MaximumPollers": 3, "PollerGroupName": "g"},
               "LoggingConfig": {"SystemLogLevel": "DEBUG"}, "MetricsConfig": {"Metrics": ["EventCount", "KafkaMetrics"]},
               "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}],
               "DestinationConfig": {"OnFailure": {"Destination": "kafka://failed"}},
               "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "chosen-1", "SchemaRegistryConfig": {
                   "SchemaRegistryURI": "https://registry.example", "EventRecordFormat": "JSON",
                   "AccessConfigs": [{"Type": "BASIC_AUTH", "URI": SECRET}], "SchemaValidationConfigs": [{"Attribute": "VALUE"}]}}}),
        (OWN, {"MaximumRetryAttempts": 0, "MaximumRecordAgeInSeconds": 60, "BisectBatchOnFunctionError": False,
               "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}},
               "SourceAccessConfigurations": [{"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}],
               "SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "chosen-2", "ConsumptionMode": "Stream"}}),
        (MQ, {"SourceAccessConfigurations": [*BASIC, {"Type": "VIRTUAL_HOST", "URI": "/"}], "MaximumBatchingWindowInSeconds": 300}),
        (DOCUMENTDB, {"DocumentDBEventSourceConfig": {"DatabaseName": "d", "CollectionName": "c", "FullDocument": "UpdateLookup"}}),
    ],
    ids=lambda value: None if "EventSourceArn" in value or "SelfManagedEventSource" in value else "+".join(value)[:60],
)  # fmt: skip
async def test_what_was_sent_is_shown_again(control: Control, source: dict[str, Any], sent: dict[str, Any]) -> None:
    created = await create(control, source, **sent)
    assert {key: created[key] for key in sent} == sent
    assert await control("GetEventSourceMapping", UUID=created["UUID"]) == created


async def test_a_self_managed_cluster_is_read_from_its_beginning_unless_it_is_said_otherwise(control: Control) -> None:
    created = await create(control, OWN, StartingPosition=None)
    assert created["StartingPosition"] == "TRIM_HORIZON"
    assert (await create(control, OWN, Topics=["others"]))["StartingPosition"] == "LATEST"


async def test_a_kafka_that_the_settings_name_needs_no_access_configuration(control: Control) -> None:
    named = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}}
    created = await create(control, OWN, SelfManagedEventSource=named, SourceAccessConfigurations=None)
    assert created["SelfManagedEventSource"] == named


async def test_an_update_changes_what_it_sends_and_takes_away_what_it_sends_empty(control: Control) -> None:
    created = await create(
        control,
        SQS,
        ScalingConfig={"MaximumConcurrency": 5},
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]},
        FunctionResponseTypes=["ReportBatchItemFailures"],
        MetricsConfig={"Metrics": ["EventCount"]},
    )
    identity = created["UUID"]
    changed = await control("UpdateEventSourceMapping", UUID=identity, MaximumBatchingWindowInSeconds=1, BatchSize=50)
    assert changed["State"] == "Creating", "no poller has taken it up yet"
    same = {key: created[key] for key in ("ScalingConfig", "FilterCriteria", "FunctionResponseTypes", "FunctionArn")}
    assert {key: changed[key] for key in same} == same
    emptied = await control(
        "UpdateEventSourceMapping",
        UUID=identity,
        ScalingConfig={},
        FilterCriteria={},
        MetricsConfig={},
        FunctionResponseTypes=[],
        ProvisionedPollerConfig={"MinimumPollers": 3},
    )
    assert emptied.keys() & {"ScalingConfig", "FilterCriteria", "MetricsConfig"} == set()
    assert emptied["FunctionResponseTypes"] == []
    assert emptied["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 200}
    grown = await control("UpdateEventSourceMapping", UUID=identity, ProvisionedPollerConfig={"MaximumPollers": 300})
    assert grown["ProvisionedPollerConfig"] == {"MinimumPollers": 3, "MaximumPollers": 300}
    assert "ProvisionedPollerConfig" not in await control("UpdateEventSourceMapping", UUID=identity, ProvisionedPollerConfig={})


async def test_the_poller_is_given_what_the_owner_set_last(control: Control) -> None:
    created = await create(
        control,
        MSK,
        MaximumRetryAttempts=3,
        MaximumRecordAgeInSeconds=60,
        BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        DestinationConfig={"OnFailure": {"Destination": "kafka://failed"}},
    )
    mapping = await kept(control, created)
    assert mapping.error_handling == ErrorHandling(3, 60, True, True)
    assert mapping.on_failure_arn == "kafka://failed"
    assert mapping.settings.function_response_types == ("ReportBatchItemFailures",)
    await control(
        "UpdateEventSourceMapping",
        UUID=created["UUID"],
        MaximumRetryAttempts=-1,
        BisectBatchOnFunctionError=False,
        FunctionResponseTypes=[],
        DestinationConfig={"OnFailure": {"Destination": ""}},
    )
    after = await kept(control, created)
    assert after.error_handling == ErrorHandling(-1, 60, False, False)
    assert after.on_failure_arn is None
    assert after.revision > mapping.revision


async def test_states_follow_what_the_owner_asks_for(control: Control) -> None:
    created = await create(control, TABLE, Enabled=False)
    identity = created["UUID"]
    assert (created["State"], "Enabled" in created) == ("Creating", False)
    assert (await control("UpdateEventSourceMapping", UUID=identity, Enabled=True))["State"] == "Enabling"
    assert (await control("UpdateEventSourceMapping", UUID=identity, Enabled=False))["State"] == "Disabling"
    assert (await control("UpdateEventSourceMapping", UUID=identity, Enabled=False))["State"] == "Disabling", (
        "a change of what is being stopped"
    )
    gone = await control("DeleteEventSourceMapping", UUID=identity)
    assert (gone["State"], gone["StateTransitionReason"]) == ("Deleting", "User action")
    for operation in ("UpdateEventSourceMapping", "DeleteEventSourceMapping"):
        with pytest.raises(ResourceInUseException):
            await control(operation, UUID=identity)
    await control.registry.mappings.delete(identity)
    with pytest.raises(ResourceNotFoundException, match=r"^The resource you requested does not exist\.$"):
        await control("GetEventSourceMapping", UUID=identity)


async def test_another_function_may_take_a_mapping_over(control: Control) -> None:
    other = await control.create()
    created = await create(control, SQS)
    moved = await control("UpdateEventSourceMapping", UUID=created["UUID"], FunctionName=other)
    assert moved["FunctionArn"].endswith(f":{other}")
    with pytest.raises(InvalidParameterValueException, match=r"^Function does not exist$"):
        await control("UpdateEventSourceMapping", UUID=created["UUID"], FunctionName="nothing-here")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (SQS, 'An event source mapping with SQS arn (" {arn} ") and function (" {name} ") already exists.'),
        (STREAM, 'The event source arn (" {arn} ") and function (" {name} ") provided mapping already exists.'),
        (TABLE, 'The event source arn (" {arn} ") and function (" {name} ") provided mapping already exists.'),
        (MSK, 'An event source mapping with event source arn ("{arn}"), function ("{function}") and topics ("orders") '
              'already exists.'),
    ],
    ids=["sqs", "kinesis", "dynamodb", "msk"],
)  # fmt: skip
async def test_a_source_goes_to_a_function_once(control: Control, source: dict[str, Any], text: str) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    created = await create(control, source, name)
    with pytest.raises(ResourceConflictException) as refused:
        await create(control, source, name)
    told = text.format(arn=source["EventSourceArn"], name=name, function=created["FunctionArn"])
    assert refused.value.message == f"{told} Please update or delete the existing mapping with UUID {created['UUID']}"
    await create(control, source, f"{name}:1")
    await create(control, source)


async def test_a_consumer_group_is_one_mappings_own(control: Control) -> None:
    group = {"ConsumerGroupId": f"group-{uuid.uuid4()}"}
    created = await create(control, MSK, AmazonManagedKafkaEventSourceConfig=group)
    with pytest.raises(ResourceConflictException, match="consumer group"):
        await create(control, MSK, AmazonManagedKafkaEventSourceConfig=group)
    with pytest.raises(InvalidParameterValueException, match="cannot be changed"):
        await control(
            "UpdateEventSourceMapping",
            UUID=created["UUID"],
            AmazonManagedKafkaEventSourceConfig={"ConsumerGroupId": "another"},
        )


async def test_lists_are_filtered_by_function_and_source_and_paged(control: Control) -> None:
    name = await control.create()
    await control("PublishVersion", FunctionName=name)
    queues = [f"arn:aws:sqs:{HERE}:{uuid.uuid4().hex}" for _ in range(5)]
    made = [(await create(control, {"EventSourceArn": queue}, name))["UUID"] for queue in queues]
    qualified = (await create(control, {"EventSourceArn": queues[0]}, f"{name}:1"))["UUID"]
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await control("ListEventSourceMappings", FunctionName=name, MaxItems=2, **marker)
        assert len(page["EventSourceMappings"]) <= 2
        found += [one["UUID"] for one in page["EventSourceMappings"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert found == sorted(made)

    async def listed(**request: Any) -> list[str]:
        return [one["UUID"] for one in (await control("ListEventSourceMappings", **request))["EventSourceMappings"]]

    assert await listed(FunctionName=f"{name}:1") == [qualified]
    assert await listed(EventSourceArn=queues[0]) == sorted([made[0], qualified])
    assert await listed(EventSourceArn=queues[1], FunctionName=name) == [made[1]]
    assert await listed(EventSourceArn=queues[1], FunctionName=f"{name}:1") == []
    assert await listed(EventSourceArn="arn:aws:sqs:::\x00") == []


async def test_a_list_hides_filters_that_are_encrypted_with_the_owners_key(control: Control) -> None:
    criteria = {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}
    created = await create(control, SQS, FilterCriteria=criteria, KMSKeyArn=f"arn:aws:kms:{HERE}:key/k")
    [listed] = (await control("ListEventSourceMappings", FunctionName=created["FunctionArn"]))["EventSourceMappings"]
    assert "FilterCriteria" not in listed
    assert (await control("GetEventSourceMapping", UUID=created["UUID"]))["FilterCriteria"] == criteria


async def test_tags_of_a_mapping_are_its_own(control: Control) -> None:
    created = await create(control, MQ, Tags={"a": "b"})
    arn = created["EventSourceMappingArn"]
    await control("TagResource", Resource=arn, Tags={"c": "d"})
    assert (await control("ListTags", Resource=arn))["Tags"] == {"a": "b", "c": "d"}
    await control("UpdateEventSourceMapping", UUID=created["UUID"], BatchSize=7)
    await control("UntagResource", Resource=arn, TagKeys=["a"])
    assert (await control("ListTags", Resource=arn))["Tags"] == {"c": "d"}


UNSUPPORTED = "Unsupported {} parameter for given event source mapping type."


@pytest.mark.parametrize(
    ("source", "changed", "message"),
    [
        (SQS, {"EventSourceArn": "arn:aws:ec2:us-east-1:000000000000:instance/i"}, "Unrecognized event source."),
        (SQS, {"EventSourceArn": f"arn:aws:dynamodb:{HERE}:table/t"}, "Unrecognized event source."),
        (SQS, {"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"),
        (SQS, {"EventSourceArn": f"{QUEUE}.fifo", "MaximumBatchingWindowInSeconds": 1}, "Batching window is not supported for FIFO queues"),
        (SQS, {"StartingPosition": "LATEST"}, "StartingPosition is not valid for SQS event sources."),
        (SQS, {"Topics": ["t1"]}, UNSUPPORTED.format("'topics'")),
        (SQS, {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}, UNSUPPORTED.format("DestinationConfig")),
        (SQS, {"DocumentDBEventSourceConfig": {"DatabaseName": "d"}}, UNSUPPORTED.format("'documentDBEventSourceConfig'")),
        (SQS, {"ProvisionedPollerConfig": {"MinimumPollers": 1}}, "Pollers of this event source may be 2 to 10000."),
        (SQS, {"ProvisionedPollerConfig": {"MinimumPollers": 2, "PollerGroupName": "g"}}, "PollerGroupName is not supported for SQS event sources."),
        (SQS, {"ProvisionedPollerConfig": {"MinimumPollers": 2}, "ScalingConfig": {"MaximumConcurrency": 2}}, "ScalingConfig and ProvisionedPollerConfig exclude each other."),
        (STREAM, {"ScalingConfig": {"MaximumConcurrency": 2}}, UNSUPPORTED.format("'scalingConfig'")),
        (STREAM, {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}, UNSUPPORTED.format("DestinationConfig")),
        (STREAM, {"DestinationConfig": {"OnFailure": {"Destination": "kafka://topic"}}}, UNSUPPORTED.format("DestinationConfig")),
        (STREAM, {"DestinationConfig": {"OnFailure": {"Destination": f"{QUEUE}.fifo"}}}, UNSUPPORTED.format("DestinationConfig")),
        (STREAM, {"FilterCriteria": {"Filters": [{"Pattern": '{"data": ["plain"]}'}]}}, "Invalid filter pattern definition."),
        (MSK, {"EventSourceArn": CLUSTER.format("unknown")}, "Kafka cluster unknown is not known here. Known are: lambdad; LAMBDAD_EVENTS__KAFKA_CLUSTERS names others."),
        (MSK, {"EventSourceArn": "arn:aws:kafka:us-east-1:000000000000:nonsense"}, "Unrecognized event source."),
        (MSK, {"SelfManagedEventSource": OWN["SelfManagedEventSource"]}, "EventSourceArn and SelfManagedEventSource exclude each other."),
        (MSK, {"Topics": None}, "Required 'topics' parameter is missing."),
        (MSK, {"StartingPosition": None}, "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."),
        (STREAM, {"StartingPosition": "LATEST", "StartingPositionTimestamp": 1}, "Timestamp only valid with StartingPosition AT_TIMESTAMP"),
        (STREAM, {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": -1}, "Received Exception while reading from provided stream. class java.lang.Long can not be converted to a Timestamp"),
        (TABLE, {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": -1}, f"Unsupported starting position for arn type: {DYNAMODB}"),
        (SQS, {"StartingPosition": "LATEST", "StartingPositionTimestamp": 1}, "StartingPosition is not valid for SQS event sources."),
        (MSK, {"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp is needed with the StartingPosition AT_TIMESTAMP."),
        (MSK, {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 9e9}, "StartingPositionTimestamp cannot be in the future."),
        (MSK, {"ParallelizationFactor": 2}, UNSUPPORTED.format("'parallelizationFactor'")),
        (MSK, {"SelfManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"}}, UNSUPPORTED.format("'selfManagedKafkaEventSourceConfig'")),
        (MSK, {"MaximumRecordAgeInSeconds": 59}, "MaximumRecordAgeInSeconds must be -1 or at least 60."),
        (MSK, {"DestinationConfig": {"OnFailure": {"Destination": "kafka://orders"}}}, "The topic that events come from cannot be their on-failure destination."),
        (MSK, {"Topics": ["lambdad.async"]}, "Topic lambdad.async is internal to the cluster and cannot be an event source."),
        (MSK, {"Topics": ["__consumer_offsets"]}, "Topic __consumer_offsets is internal to the cluster and cannot be an event source."),
        (MSK, {"AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "lambdad.async"}}, "Consumer group lambdad.async is internal to the cluster and cannot be used."),
        (MSK, {"DestinationConfig": {"OnFailure": {"Destination": "kafka://lambdad.async"}}}, "Topic lambdad.async is internal to the cluster and cannot be a destination."),
        (OWN, {"SelfManagedEventSource": OURS, "Topics": ["lambdad.logs"]}, "Topic lambdad.logs is internal to the cluster and cannot be an event source."),
        (OWN, {"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["169.254.169.254:80"]}}}, "169.254.169.254:80 is not an address that event source mappings may connect to here."),
        (MSK, {"SourceAccessConfigurations": BASIC}, "Unsupported source access configuration type BASIC_AUTH for given event source mapping type."),
        (MSK, {"ProvisionedPollerConfig": {"MinimumPollers": 5, "MaximumPollers": 4}}, "MinimumPollers must be less than or equal to MaximumPollers."),
        (MSK, {"ProvisionedPollerConfig": {"MaximumPollers": 2_001}}, "Pollers of this event source may be 1 to 2000."),
        (MSK, {"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "Invalid filter pattern definition."),
        (MSK, {"FilterCriteria": {"Filters": [{"Pattern": '{"a": [1]}'}] * 6}}, "FilterCriteria can have at most 5 filters."),
        (OWN, {"SourceAccessConfigurations": None}, "Required 'sourceAccessConfigurations' parameter is missing."),
        (OWN, {"SourceAccessConfigurations": []}, "Required 'sourceAccessConfigurations' parameter is missing."),
        (OWN, {"SourceAccessConfigurations": BASIC}, "Authentication at a self-managed Kafka cluster is not supported yet: a later release brings it."),
        (OWN, {"SelfManagedKafkaEventSourceConfig": {"ConsumptionMode": "Queue"}}, "Unsupported 'ConsumptionMode' parameter for given event source mapping type"),
        (MQ, {"Queues": None}, "Required 'queues' parameter is missing."),
        (MQ, {"SourceAccessConfigurations": None}, "Required 'sourceAccessConfigurations' parameter is missing."),
        (MQ, {"StartingPosition": "LATEST"}, UNSUPPORTED.format("'startingPosition'")),
        (MQ, {"MaximumRetryAttempts": 1}, UNSUPPORTED.format("'maximumRetryAttempts'")),
        (DOCUMENTDB, {"DocumentDBEventSourceConfig": {}}, "Required 'databaseName' parameter is missing."),
    ],
)  # fmt: skip
async def test_a_mapping_that_cannot_work_is_refused(
    control: Control, source: dict[str, Any], changed: dict[str, Any], message: str
) -> None:
    name = await control.create()
    request = {key: value for key, value in {**source, **changed}.items() if value is not None}
    with pytest.raises(InvalidParameterValueException) as refused:
        await create(control, request, name)
    assert refused.value.message == message
    assert (await control("ListEventSourceMappings", FunctionName=name))["EventSourceMappings"] == []


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        (SQS, {"BatchSize": 11}),
        (SQS, {"BisectBatchOnFunctionError": True}),
        (TABLE, {"MaximumRecordAgeInSeconds": 0}),
        (MSK, {"TumblingWindowInSeconds": 5}),
        (MSK, {"FilterCriteria": {"Filters": [{"Pattern": ""}]}}),
        (MSK, {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}}),
    ],
)
async def test_an_update_that_cannot_work_changes_nothing(
    control: Control, source: dict[str, Any], changed: dict[str, Any]
) -> None:
    created = await create(control, source)
    before = await kept(control, created)
    with pytest.raises(InvalidParameterValueException):
        await control("UpdateEventSourceMapping", UUID=created["UUID"], **changed)
    assert await kept(control, created) == before


@pytest.mark.parametrize("identity", ["x" * 36, "\x00" * 36, "é" * 36])
async def test_what_is_no_identifier_is_not_there(control: Control, identity: str) -> None:
    for operation in ("GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping"):
        with pytest.raises(ResourceNotFoundException):
            await control(operation, UUID=identity)
