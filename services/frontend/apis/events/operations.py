"""The table of EventBridge's operations."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from services.frontend.apis.events import (
    api_destinations,
    archives,
    buses,
    connections,
    patterns,
    permissions,
    putting,
    replays,
    rules,
    tags,
    targets,
)
from services.frontend.apis.events.context import EventsContext, Operation
from services.frontend.endpoint.api import Api
from shared.aws.service_model import load_service_model

OPERATIONS: Mapping[str, Operation] = {
    "CancelReplay": replays.cancel_replay,
    "CreateApiDestination": api_destinations.create_api_destination,
    "CreateArchive": archives.create_archive,
    "CreateConnection": connections.create_connection,
    "CreateEventBus": buses.create_event_bus,
    "DeauthorizeConnection": connections.deauthorize_connection,
    "DeleteApiDestination": api_destinations.delete_api_destination,
    "DeleteArchive": archives.delete_archive,
    "DeleteConnection": connections.delete_connection,
    "DeleteEventBus": buses.delete_event_bus,
    "DeleteRule": rules.delete_rule,
    "DescribeApiDestination": api_destinations.describe_api_destination,
    "DescribeArchive": archives.describe_archive,
    "DescribeConnection": connections.describe_connection,
    "DescribeEventBus": buses.describe_event_bus,
    "DescribeReplay": replays.describe_replay,
    "DescribeRule": rules.describe_rule,
    "DisableRule": rules.disable_rule,
    "EnableRule": rules.enable_rule,
    "ListApiDestinations": api_destinations.list_api_destinations,
    "ListArchives": archives.list_archives,
    "ListConnections": connections.list_connections,
    "ListEventBuses": buses.list_event_buses,
    "ListReplays": replays.list_replays,
    "ListRuleNamesByTarget": rules.list_rule_names_by_target,
    "ListRules": rules.list_rules,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTargetsByRule": targets.list_targets_by_rule,
    "PutEvents": putting.put_events,
    "PutPermission": permissions.put_permission,
    "PutRule": rules.put_rule,
    "PutTargets": targets.put_targets,
    "RemovePermission": permissions.remove_permission,
    "RemoveTargets": targets.remove_targets,
    "StartReplay": replays.start_replay,
    "TagResource": tags.tag_resource,
    "TestEventPattern": patterns.test_event_pattern,
    "UntagResource": tags.untag_resource,
    "UpdateApiDestination": api_destinations.update_api_destination,
    "UpdateArchive": archives.update_archive,
    "UpdateConnection": connections.update_connection,
    "UpdateEventBus": buses.update_event_bus,
}


def events(ctx: EventsContext) -> Api:
    operations = {name: functools.partial(operation, ctx) for name, operation in OPERATIONS.items()}
    return Api(load_service_model("events"), operations, check=putting.check, internal_error="InternalException")
