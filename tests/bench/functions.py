"""The functions that every peer runs: one answers its event, the other has imported the SDK first."""

from __future__ import annotations

from tests.support import zip_of

PAYLOAD = b'{"message": "hello", "numbers": [1, 2, 3]}'
MEMORY_MB = 1_769
"""One whole vCPU: below it the quota would be measured instead of the platform."""

PYTHON = "def handler(event, context):\n    return event\n"
PYTHON_BOTO3 = "import boto3\n\n\ndef handler(event, context):\n    return event\n"
PYTHON_BATCH = "def handler(event, context):\n    return None\n"
NODE = "exports.handler = async (event) => event;\n"

SOURCES = {"python": PYTHON, "boto3": PYTHON_BOTO3, "node": NODE, "batch": PYTHON_BATCH}


def package(kind: str) -> bytes:
    return zip_of({"index.js" if kind == "node" else "index.py": SOURCES[kind]})
