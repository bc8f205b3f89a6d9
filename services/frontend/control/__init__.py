"""The control plane: a file for each resource, a small handler for each operation, registered here by name."""

from __future__ import annotations

from services.frontend.control import function_updates, functions, versions
from services.frontend.control.context import ControlContext, Handler, Reply, Request

__all__ = ["OPERATIONS", "ControlContext", "Handler", "Reply", "Request"]

OPERATIONS: dict[str, Handler] = {
    "CreateFunction": functions.create_function,
    "DeleteFunction": functions.delete_function,
    "GetFunction": functions.get_function,
    "GetFunctionConfiguration": functions.get_function_configuration,
    "ListFunctions": functions.list_functions,
    "ListVersionsByFunction": versions.list_versions_by_function,
    "PublishVersion": versions.publish_version,
    "UpdateFunctionCode": function_updates.update_function_code,
    "UpdateFunctionConfiguration": function_updates.update_function_configuration,
}
"""By the service model's operation names."""
