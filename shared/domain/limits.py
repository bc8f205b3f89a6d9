"""AWS Lambda's limits, each with its unit. Source: the Lambda quotas page and the service model."""

MEMORY_MB_DEFAULT = 128
MEMORY_MB_MAX = 10_240
MEMORY_MB_PER_VCPU = 1_769
TMP_MB_MIN = 512
TMP_MB_MAX = 10_240
TIMEOUT_S_MAX_DEFAULT = 900
TIMEOUT_S_MAX = 1_800
"""What AWS allows since autumn 2026; a cluster allows what its settings say."""
INIT_TIMEOUT_S = 10
PROVISIONED_INIT_TIMEOUT_S_MIN = 130
PROVISIONED_INIT_TIMEOUT_S_MAX = 900
SYNC_PAYLOAD_BYTES_MAX = 6 * 1024 * 1024
ASYNC_PAYLOAD_BYTES_MAX = 1024 * 1024
OLD_ASYNC_PAYLOAD_BYTES_MAX = 256 * 1024
"""Of the operation InvokeAsync."""
RESPONSE_BYTES_MAX = 6_291_556
STREAMED_RESPONSE_BYTES_MAX = 200 * 1024 * 1024
CLIENT_CONTEXT_BYTES_MAX = 3_583
TRACE_BYTES_MAX = 4_096
"""Of the X-Amzn-Trace-Id header. AWS names no limit; runtimes take no more than 16 KB of headers in all."""
LOG_TAIL_BYTES = 4 * 1024
LOG_EVENT_BYTES_MAX = 256 * 1024
"""A longer line, or record of a runtime, becomes several events."""
ZIP_UPLOAD_BYTES_MAX = 50 * 1024 * 1024
CONTROL_BODY_BYTES_MAX = 70_167_211
"""Largest control-plane body: a 50 MiB package as base64 and its JSON around it."""
UNZIPPED_BYTES_MAX = 250 * 1024 * 1024
ENVIRONMENT_VARIABLES_BYTES_MAX = 4 * 1024
PROCESSES_MAX = 1_024
ACCOUNT_UNRESERVED_MIN = 100
SIGNATURE_SKEW_S = 15 * 60
