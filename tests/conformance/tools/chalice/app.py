"""A Chalice application of two functions without a REST API: what Chalice deploys through Lambda alone."""

import os

from chalice import Chalice

app = Chalice(app_name="lambdad-chalice")


@app.lambda_function(name="greet")
def greet(event, context):
    return {"hello": event.get("name"), "stage": os.environ["STAGE"], "function": context.function_name}


@app.lambda_function(name="fail")
def fail(event, context):
    raise ValueError("asked to")
