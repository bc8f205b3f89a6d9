"""Counts orders by article over one batch of Kafka records."""

import base64
import json
from collections import Counter


def handler(event, context):
    counts = Counter()
    records = 0
    for partition in event["records"].values():
        for record in partition:
            order = json.loads(base64.b64decode(record["value"]))
            counts[order["sku"]] += order["count"]
            records += 1
    print("counted", records, "records")
    return {"records": records, "counts": dict(counts)}
