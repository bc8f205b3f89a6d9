from __future__ import annotations

import base64
from typing import Any

from tests.conformance.made_up import Vocabulary
from tests.conformance.services.service import ACCOUNT, REGION
from tests.conformance.words.words import ROLE, Made, Words
from tests.support import zip_of

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
ZIP = zip_of({"index.py": "def handler(event, context):\n    return event\n"})
MAPPING = "00000000-0000-4000-8000-000000000000"
SIGNING = f"{ARN}:code-signing-config:csc-00000000000000000"
"""Stand for what `FIRST` makes and only its answer names."""

FUNCTIONS = [
    "f",
    "g",
    "gone",
    f"{ARN}:function:f",
    f"{ACCOUNT}:function:f",
    f"{ARN}:function:f:1",
    "f:live",
    "f:$LATEST",
    "f:gone",
]
KNOWN: dict[str, list[Any]] = {
    "FunctionName": FUNCTIONS,
    "Qualifier": ["$LATEST", "1", "live", "2", "9999999999", "gone"],
    "FunctionVersion": ["$LATEST", "1", "2", "0", "7"],
    "Name": ["live", "beta", "gone"],
    "LayerName": ["layer", "gone", f"{ARN}:layer:layer"],
    "VersionNumber": [1, 2, 0, -1, 9_999_999_999],
    "Arn": [f"{ARN}:layer:layer:1", f"{ARN}:layer:gone:1"],
    "Layers": [[f"{ARN}:layer:layer:1"], []],
    "Resource": [
        f"{ARN}:function:f",
        f"{ARN}:function:gone",
        f"{ARN}:event-source-mapping:00000000-0000-4000-8000-000000000000",
    ],
    "ResourceArn": [f"{ARN}:function:f", f"{ARN}:function:gone", f"{ARN}:function:f:1"],
    "Runtime": ["python3.12", "nodejs20.x", "provided.al2023", "python2.7", "nope"],
    "Role": [ROLE],
    "Handler": ["index.handler", "x"],
    "Statement": ["s1", "s2"],
    "StatementId": ["s1", "s2", "gone"],
    "Action": ["lambda:InvokeFunction", "lambda:GetLayerVersion", "lambda:InvokeFunctionUrl", "lambda:*"],
    "Principal": ["s3.amazonaws.com", "*", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root"],
    "ZipFile": [base64.b64encode(ZIP).decode(), "", base64.b64encode(b"no zip").decode()],
    "S3Bucket": ["bucket", "no-such-bucket"],
    "S3Key": ["key.zip", "../../etc/passwd", "/", ".", "a//b", "a/" * 200],
    "S3ObjectVersion": ["v", "null"],
    "Publish": [True, False],
    "DryRun": [True, False],
    "EventSourceArn": [
        f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/lambdad/8f2f2b6c-0000-4000-8000-000000000000-1",
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue",
        f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s",
        f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-01T00:00:00.000",
    ],
    "Topics": [["topic"], []],
    "StartingPosition": ["LATEST", "TRIM_HORIZON", "AT_TIMESTAMP"],
    # Only addresses of this machine on which nothing listens: a mapping that is made may be tried.
    "Endpoints": [{"KAFKA_BOOTSTRAP_SERVERS": ["127.0.0.1:1"]}],
    "SchemaRegistryURI": ["http://127.0.0.1:1", f"arn:aws:glue:{REGION}:{ACCOUNT}:registry/r"],
    "Destination": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", f"{ARN}:function:f", "arn:aws:sns:us-east-1:000000000000:t", ""],
    "TargetArn": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", ""],
    "UUID": [MAPPING, "11111111-0000-4000-8000-000000000000", "gone"],
    "CodeSigningConfigArn": [SIGNING, f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-11111111111111111"],
    "SigningProfileVersionArns": [[f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p/abcdefghij"]],
    "Policy": ["{}", "{", "[]", '{"Version":"2012-10-17","Statement":[]}', '{"Statement":5}'],
    "Marker": ["bm90aGluZw==", "IiI=", "WyJmIiwxXQ==", "MQ==", "!"],
    "MaxItems": [1, 50, 10_000],
    "TagKeys": [["a"], ["a", "b"]],
    "Tags": [{"a": "b"}, {}],
    "Pattern": ['{"value": {"a": [1]}}', "{", '{"a": [{"exists": true}]}', '{"a": [{"numeric": [">", "x"]}]}', "[]"],
    "InvocationType": ["RequestResponse", "Event", "DryRun"],
    "RevisionId": ["gone"],
    "CapacityProviderName": ["gone"],
    "DurableExecutionArn": [f"{ARN}:function:f:1/durable-execution/e/0123456789"],
}
"""Values by member name: names of what `FIRST` makes, of what does not exist, and of what is hard to get right."""

FIRST = [
    *(
        Made(
            "CreateFunction",
            {"FunctionName": name, "Runtime": "python3.12", "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": ZIP}, "Publish": True},
        )
        for name in ("f", "g")
    ),
    Made("CreateAlias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
    Made("PublishLayerVersion", {"LayerName": "layer", "Content": {"ZipFile": ZIP}}),
    Made("AddPermission", {"FunctionName": "f", "StatementId": "s1", "Action": "lambda:InvokeFunction", "Principal": "*"}),
    Made("PutFunctionEventInvokeConfig", {"FunctionName": "f", "MaximumRetryAttempts": 1}),
    Made("CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE"}),
    Made(
        "CreateEventSourceMapping",
        {
            "FunctionName": "g",
            "EventSourceArn": KNOWN["EventSourceArn"][0],
            "Topics": ["made-up"],
            "StartingPosition": "LATEST",
            "Enabled": False,
        },
        {"UUID": MAPPING},
    ),
    Made(
        "CreateCodeSigningConfig",
        {"AllowedPublishers": {"SigningProfileVersionArns": KNOWN["SigningProfileVersionArns"][0]}},
        {"CodeSigningConfig.CodeSigningConfigArn": SIGNING},
    ),
]  # fmt: skip
FAVOURED = {"ZipFile"}
RARE = {"S3Bucket", "S3Key", "S3ObjectVersion", "ImageUri", "SourceKMSKeyArn", "RevisionId"}
"""Of optional members: what a request that is right has, and what it can only be wrong with."""
AT: dict[tuple[str, str], list[Any]] = {
    ("AddLayerVersionPermission", "Action"): ["lambda:GetLayerVersion"],
    ("CreateFunction", "FunctionName"): [*(f"new-{number}" for number in range(8))],
    ("CreateEventSourceMapping", "FunctionName"): ["g", "f"],
    ("CreateFunctionUrlConfig", "FunctionName"): ["g", "f"],
}
"""Values by operation and member name, in place of `KNOWN`'s."""
LAMBDA = Words(
    Vocabulary(
        KNOWN, AT, only=frozenset({"Endpoints", "SchemaRegistryURI"}), favoured=frozenset(FAVOURED), rare=frozenset(RARE)
    ),
    first=FIRST,
    unasked=frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"}),
)
