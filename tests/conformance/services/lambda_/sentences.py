"""From the sentences of `given` to the calls that make it so: `script_of`. An unknown sentence is an error of ours."""

from __future__ import annotations

import re
from typing import Any

from tests.conformance.facts import Fact
from tests.conformance.services.lambda_ import functions, resources
from tests.conformance.services.lambda_.script import Script
from tests.conformance.steps import NotUnderstoodError, Step


def script_of(fact: Fact) -> Script:
    """Raises NotUnderstoodError."""
    script = Script(fact)
    for sentence in fact.given:
        if isinstance(sentence, dict):
            _call(script, dict(sentence))
        else:
            _say(script, sentence)
    if fact.error is None and fact.call != "CreateFunction" and "FunctionName" in fact.request:
        script.need_function()
    return script


def _say(script: Script, sentence: str) -> None:
    if match := functions.FUNCTION.fullmatch(sentence):
        functions.function(script, match)
        return
    special = resources.OF_LAYERS if "Layer" in str(script.fact.call) else {}
    for pattern, say in {**special, **functions.SENTENCES, **resources.SENTENCES}.items():
        if match := re.fullmatch(pattern, sentence):
            say(script, match)
            return
    raise NotUnderstoodError(sentence)


def _call(script: Script, sentence: dict[str, Any]) -> None:
    """A call that is given, with what it needs before it."""
    returns = str(sentence.pop("returns", ""))
    (operation, request), *_ = sentence.items()
    takes = {"RevisionId": found[1]} if (found := re.match(r'(?:Version "1", )?RevisionId <(uuid:\d)>', returns)) else {}
    if isinstance(request, str):
        request = resources.SHORT_CALLS[operation, request]
    if operation == "PublishVersion":
        takes |= {"CodeSize": "CodeSize"}
        script.need_function()
        script.versions += 1
    elif operation == "CreateFunction":
        script.function_exists = True
    elif operation in ("TagResource", "UntagResource"):
        request = {"Resource": script.tagged(), **request}
    elif "Layer" in operation:
        if operation != "PublishLayerVersion":
            script.need_layer()
    elif operation == "DeleteEventSourceMapping":
        script.need_mapping()
        script.mapping_settled()
    else:
        _needs_of_function_call(script, operation, request)
    script.steps.append(Step(operation, request, takes))


def _needs_of_function_call(script: Script, operation: str, request: dict[str, Any]) -> None:
    script.need_function()
    if operation == "CreateAlias":
        script.need_versions(2 if "RoutingConfig" in request or not script.versions else 1)
    elif operation == "UpdateAlias" and not script.made("CreateAlias"):
        script.custom_alias()
    elif operation == "DeleteFunctionUrlConfig" and not script.url_exists:
        script.url()
    elif request.get("Qualifier") == "1":
        script.need_versions(1)
