"""What a schedule calls: a nightly clean-up that is told the time it was due at."""

from datetime import datetime, timedelta

KEEP = timedelta(days=30)


def handler(event, context):
    due = datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    return {"delete_before": (due - KEEP).strftime("%Y-%m-%dT%H:%M:%SZ")}
