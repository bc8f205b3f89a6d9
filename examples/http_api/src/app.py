"""A notes API: routes on method and path, state in memory for as long as the environment lives."""

import json

NOTES = {"1": {"id": "1", "text": "buy milk"}}


def reply(status, body):
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}


def handler(event, context):
    http = event["requestContext"]["http"]
    parts = [part for part in http["path"].split("/") if part]
    if parts[:1] != ["notes"]:
        return reply(404, {"error": "no such route"})
    if http["method"] == "GET" and len(parts) == 1:
        return reply(200, list(NOTES.values()))
    if http["method"] == "GET":
        note = NOTES.get(parts[1])
        return reply(200, note) if note else reply(404, {"error": "no such note"})
    if http["method"] == "POST":
        try:
            text = json.loads(event["body"])["text"]
        except (KeyError, TypeError, ValueError):
            return reply(400, {"error": 'send {"text": "..."}'})
        note = {"id": str(len(NOTES) + 1), "text": text}
        NOTES[note["id"]] = note
        return reply(201, note)
    return reply(405, {"error": "method not allowed"})
