"""Services whose name in signatures is not that of botocore's folder.

Where several share one, the folder is that of the one most used: what is taken from it is only how an error looks.
"""

from __future__ import annotations

from shared.aws.service_model import is_service

FOLDERS = {
    "IoTSecuredTunneling": "iotsecuretunneling",
    "abuse": "abuse-signal",
    "access-analyzer": "accessanalyzer",
    "aco-automation": "compute-optimizer-automation",
    "aidevops": "devops-agent",
    "airflow": "mwaa",
    "airflow-serverless": "mwaa-serverless",
    "aoss": "opensearchserverless",
    "app-integrations": "appintegrations",
    "application-cost-profiler": "applicationcostprofiler",
    "applicationinsights": "application-insights",
    "aps": "amp",
    "aws-marketplace": "meteringmarketplace",
    "awsssoportal": "sso",
    "backup-search": "backupsearch",
    "cases": "connectcases",
    "cassandra": "keyspaces",
    "cleanrooms-ml": "cleanroomsml",
    "cloudcontrolapi": "cloudcontrol",
    "codeguru-profiler": "codeguruprofiler",
    "connect-campaigns": "connectcampaigns",
    "elasticfilesystem": "efs",
    "elasticloadbalancing": "elbv2",
    "elasticmapreduce": "emr",
    "elemental-inference": "elementalinference",
    "end-user-messaging": "endusermessaging",
    "execute-api": "apigatewaymanagementapi",
    "geo": "location",
    "health-agent": "connecthealth",
    "iotdata": "iot-data",
    "iotmanagedintegrations": "iot-managed-integrations",
    "launchwizard": "launch-wizard",
    "lex": "lexv2-runtime",
    "migrationhub-orchestrator": "migrationhuborchestrator",
    "migrationhub-strategy": "migrationhubstrategy",
    "mobiletargeting": "pinpoint",
    "monitoring": "cloudwatch",
    "mturk-requester": "mturk",
    "neptune-db": "neptunedata",
    "notifications-contacts": "notificationscontacts",
    "osm": "opensearchmemory",
    "partnercentral": "partnercentral-revenue-measurement",
    "pricingplanmanager": "pricing-plan-manager",
    "profile": "customer-profiles",
    "refactor-spaces": "migration-hub-refactor-spaces",
    "s3-outposts": "s3outposts",
    "scn": "supplychain",
    "servicequotas": "service-quotas",
    "social-messaging": "socialmessaging",
    "sso-oauth": "sso-oidc",
    "states": "stepfunctions",
    "supportapp": "support-app",
    "tagging": "resourcegroupstaggingapi",
    "tax": "taxsettings",
    "thinclient": "workspaces-thin-client",
    "timestream": "timestream-write",
    "voiceid": "voice-id",
}


def folder_of(signing_name: str) -> str | None:
    """botocore's folder for a name in signatures; None for one that is no service's."""
    found = FOLDERS.get(signing_name)
    if found is None and is_service(signing_name):
        return signing_name
    return found
