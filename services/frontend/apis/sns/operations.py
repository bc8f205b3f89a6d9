"""The table of SNS's operations."""

from __future__ import annotations

from typing import Any

from services.frontend.apis.sns import (
    certificates,
    confirmations,
    permissions,
    platforms,
    publishing,
    sms,
    subscriptions,
    tags,
    topics,
)
from services.frontend.apis.sns.context import Operation, SnsContext
from services.frontend.apis.sns.errors import check
from services.frontend.endpoint.api import Api, Call, Handler
from shared.aws.protocols.protocol import Params
from shared.aws.service_model import load_service_model

BODY_BYTES_MAX = 8 * 1024 * 1024
"""A batch of 256 KiB, every byte of it in base64 and then escaped, and its names."""

OPERATIONS: dict[str, Operation] = {
    "AddPermission": permissions.add_permission,
    "CheckIfPhoneNumberIsOptedOut": sms.check_if_phone_number_is_opted_out,
    "ConfirmSubscription": confirmations.confirm_subscription,
    "CreatePlatformApplication": platforms.create_platform_application,
    "CreatePlatformEndpoint": platforms.create_platform_endpoint,
    "CreateTopic": topics.create_topic,
    "DeleteEndpoint": platforms.delete_endpoint,
    "DeletePlatformApplication": platforms.delete_platform_application,
    "DeleteTopic": topics.delete_topic,
    "GetDataProtectionPolicy": topics.get_data_protection_policy,
    "GetEndpointAttributes": platforms.get_endpoint_attributes,
    "GetPlatformApplicationAttributes": platforms.get_platform_application_attributes,
    "GetSMSAttributes": sms.get_sms_attributes,
    "GetSMSSandboxAccountStatus": sms.get_sms_sandbox_account_status,
    "GetSubscriptionAttributes": subscriptions.get_subscription_attributes,
    "GetTopicAttributes": topics.get_topic_attributes,
    "ListEndpointsByPlatformApplication": platforms.list_endpoints_by_platform_application,
    "ListOriginationNumbers": sms.list_no_phone_numbers,
    "ListPhoneNumbersOptedOut": sms.list_phone_numbers_opted_out,
    "ListPlatformApplications": platforms.list_platform_applications,
    "ListSMSSandboxPhoneNumbers": sms.list_no_phone_numbers,
    "ListSubscriptions": subscriptions.list_subscriptions,
    "ListSubscriptionsByTopic": subscriptions.list_subscriptions_by_topic,
    "ListTagsForResource": tags.list_tags_for_resource,
    "ListTopics": topics.list_topics,
    "OptInPhoneNumber": sms.opt_in_phone_number,
    "Publish": publishing.publish,
    "PublishBatch": publishing.publish_batch,
    "PutDataProtectionPolicy": topics.put_data_protection_policy,
    "RemovePermission": permissions.remove_permission,
    "SetEndpointAttributes": platforms.set_endpoint_attributes,
    "SetPlatformApplicationAttributes": platforms.set_platform_application_attributes,
    "SetSMSAttributes": sms.set_sms_attributes,
    "SetSubscriptionAttributes": subscriptions.set_subscription_attributes,
    "SetTopicAttributes": topics.set_topic_attributes,
    "Subscribe": subscriptions.subscribe,
    "TagResource": tags.tag_resource,
    "Unsubscribe": subscriptions.unsubscribe,
    "UntagResource": tags.untag_resource,
}
"""By the service model's operation names."""
LINKS = frozenset({"ConfirmSubscription", "Unsubscribe"})
"""What the documents that are posted to addresses have links for."""


def sns_api(context: SnsContext) -> Api:
    return Api(
        load_service_model("sns"),
        {name: _with(context, handler) for name, handler in OPERATIONS.items()},
        body_bytes_max=BODY_BYTES_MAX,
        check=check,
        links=LINKS,
        pages=certificates.pages(context.registry),
    )


def _with(context: SnsContext, handler: Operation) -> Handler:
    async def answer(call: Call, params: Params) -> dict[str, Any] | None:
        return await handler(context, call, params)

    return answer
