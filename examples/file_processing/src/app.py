"""Takes a CSV file (base64 in the event), works on it in /tmp, answers with a summary of its number columns."""

import base64
import csv
import os
import tempfile


def handler(event, context):
    path = os.path.join(tempfile.gettempdir(), context.aws_request_id + ".csv")
    with open(path, "wb") as file:
        file.write(base64.b64decode(event["file"]))
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
    finally:
        os.remove(path)
    summary = {}
    for column in rows[0] if rows else []:
        try:
            numbers = [float(row[column]) for row in rows]
        except ValueError:
            continue
        summary[column] = {"min": min(numbers), "max": max(numbers), "mean": sum(numbers) / len(numbers)}
    return {"rows": len(rows), "columns": summary}
