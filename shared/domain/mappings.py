"""Event source mappings as frozen records."""

from __future__ import annotations

import enum

import msgspec


class MappingState(enum.StrEnum):
    CREATING = "Creating"
    ENABLING = "Enabling"
    ENABLED = "Enabled"
    DISABLING = "Disabling"
    DISABLED = "Disabled"
    UPDATING = "Updating"
    DELETING = "Deleting"


class EventSourceMapping(msgspec.Struct, frozen=True):
    """A source of events and the function that they go to.

    source_arn: an MSK-style ARN whose cluster name is looked up (the built-in cluster is `lambdad`), or None when
    bootstrap_servers names a self-managed cluster. enabled: what the user asked for; state: what the poller reached.
    starting_timestamp_ms: with starting_position AT_TIMESTAMP. batching_window_s: 0 to 300.
    """

    uuid: str
    function_name: str
    qualifier: str | None
    function_arn: str
    source_arn: str | None
    bootstrap_servers: tuple[str, ...]
    topics: tuple[str, ...]
    consumer_group_id: str
    starting_position: str
    starting_timestamp_ms: int | None
    batch_size: int
    batching_window_s: float
    filters: tuple[str, ...]
    on_failure_arn: str | None
    enabled: bool
    state: MappingState
    state_reason: str
    last_processing_result: str
    last_modified_ms: int
    revision: int
