"""The other side of `process_sandbox`: a runtime client of a few lines."""

import importlib
import json
import os
import sys
import traceback

requests, answers = os.fdopen(int(sys.argv[1]), "rb", 0), os.fdopen(int(sys.argv[2]), "wb", 0)
module_name, function_name = sys.argv[3].rsplit(".", 1)
sys.path.insert(0, sys.argv[4])
sys.stdout.reconfigure(line_buffering=True)


def answer(**message):
    answers.write(json.dumps(message).encode() + b"\n")


try:
    handler = getattr(importlib.import_module(module_name), function_name)
except Exception as error:
    kind = "Runtime.ImportModuleError" if isinstance(error, ImportError) else type(error).__name__
    text = f"Unable to import module '{module_name}': {error}" if isinstance(error, ImportError) else str(error)
    sys.stdout.write(f"[ERROR] {kind}: {text}\n")
    answer(kind="init_error", document={"errorMessage": text, "errorType": kind, "requestId": "", "stackTrace": []})
    sys.exit(1)
answer(kind="ready")
for line in iter(requests.readline, b""):
    request = json.loads(line)
    try:
        result = handler(request["event"], request)
    except Exception as error:
        document = {
            "errorMessage": str(error),
            "errorType": type(error).__name__,
            "stackTrace": traceback.format_tb(error.__traceback__),
        }
        answer(kind="response", document=document, error_type=type(error).__name__)
    else:
        answer(kind="response", document=result)
