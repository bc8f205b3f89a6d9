"""What a target of a rule may be: all that AWS takes, whether or not anybody delivers there, and Kafka topics. Pure.

Source: "Event bus targets available in the EventBridge console" in the user guide, the members of `Target` in the service
model, and error texts that users of AWS reported.
"""

from __future__ import annotations

import re

import msgspec

from shared.domain.destinations import KAFKA_TOPIC

MALFORMED = "Provided Arn is not in correct format."
_ARN = re.compile(r"arn:aws[a-z-]*:([a-z0-9-]+):([a-z0-9-]*):([0-9]{12}):(.+)", re.DOTALL)
_NAME = r"[a-zA-Z0-9_.-]{1,256}"


class TargetForm(msgspec.Struct, frozen=True):
    """resource: of the ARNs. role: whether events get there with a role of the target's alone. needs: the member of a target
    without which it is none of this form."""

    service: str
    resource: re.Pattern[str]
    role: bool = True
    needs: str = ""


def _form(service: str, resource: str, *, role: bool = True, needs: str = "") -> TargetForm:
    return TargetForm(service, re.compile(resource), role, needs)


FORMS = (
    _form("lambda", r"function:[a-zA-Z0-9_-]{1,140}(:[a-zA-Z0-9$_-]{1,128})?", role=False),
    _form("sqs", r"[a-zA-Z0-9_-]{1,75}\.fifo", role=False, needs="SqsParameters"),
    _form("sqs", r"[a-zA-Z0-9_-]{1,80}", role=False),
    _form("sns", r"[a-zA-Z0-9_-]{1,256}", role=False),
    _form("events", r"event-bus/[/.\-_A-Za-z0-9]{1,256}", role=False),
    _form("events", r"api-destination/[.\-_A-Za-z0-9]{1,64}/[a-f0-9-]{36}"),
    _form("events", r"target/(create-snapshot|reboot-instance|stop-instance|terminate-instance)"),
    _form("logs", r"log-group:[a-zA-Z0-9_./#-]{1,512}", role=False),
    _form("states", rf"stateMachine:{_NAME}(:{_NAME})?"),
    _form("kinesis", rf"stream/{_NAME}"),
    _form("firehose", rf"deliverystream/{_NAME}"),
    _form("execute-api", r"[a-z0-9*]+/.+"),
    _form("appsync", rf"endpoints/graphql-api/{_NAME}", needs="AppSyncParameters"),
    _form("batch", rf"job-queue/{_NAME}", needs="BatchParameters"),
    _form("ecs", rf"cluster/{_NAME}", needs="EcsParameters"),
    _form("codebuild", rf"project/{_NAME}"),
    _form("codepipeline", _NAME),
    _form("ssm", rf"automation-definition/{_NAME}(:[^:]+)?"),
    _form("ssm", rf"document/{_NAME}", needs="RunCommandParameters"),
    _form("ssm", r"opsitem"),
    _form("ssm-incidents", rf"response-plan/{_NAME}"),
    _form("redshift", rf"cluster:{_NAME}", needs="RedshiftDataParameters"),
    _form("redshift-serverless", rf"workgroup/{_NAME}", needs="RedshiftDataParameters"),
    _form("sagemaker", rf"pipeline/{_NAME}"),
    _form("glue", rf"workflow/{_NAME}"),
    _form("inspector", r"target/.+"),
)


def form_of(arn: str) -> TargetForm | None:
    """None of what can be no target."""
    found = _ARN.fullmatch(arn)
    if found is None:
        return None
    return next((form for form in FORMS if form.service == found[1] and form.resource.fullmatch(found[4])), None)


def problem(target: dict[str, object]) -> str:
    """What is wrong with a target's ARN, or with what it needs besides, in AWS's words; "" where nothing is."""
    arn, identity = str(target["Arn"]), target["Id"]
    if KAFKA_TOPIC.form.fullmatch(arn):
        return ""
    form = form_of(arn)
    if form is None:
        return f"Parameter {arn} is not valid. Reason: {MALFORMED}"
    if form.needs and not target.get(form.needs):
        return f"Parameter(s) {form.needs} must be specified for target: {identity}."
    if form.role and not target.get("RoleArn"):
        return f"RoleArn is required for target {arn}."
    return ""
