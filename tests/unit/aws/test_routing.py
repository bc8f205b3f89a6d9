from __future__ import annotations

import botocore.session
import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.config import Config
from botocore.model import OperationModel, Shape

from shared.aws.routing import Router, parse_query
from shared.aws.service_model import ServiceModel


def test_every_operation_that_botocore_serializes_is_routed_to_itself(model: ServiceModel, router: Router) -> None:
    client = botocore.session.get_session().create_client(
        "lambda",
        "us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        endpoint_url="http://localhost:1",
        config=Config(parameter_validation=False),
    )
    assert len(model.operations) == len(client.meta.service_model.operation_names)
    for name in client.meta.service_model.operation_names:
        operation: OperationModel = client.meta.service_model.operation_model(name)
        request = client._serializer.serialize_to_request(_sample(operation.input_shape), operation)
        prepare_request_dict(request, "http://localhost:1")
        path, _, query = request["url"].removeprefix("http://localhost:1").partition("?")
        route = router.route(request["method"], path, parse_query(query))
        assert route is not None, name
        assert route.operation.name == name


def _sample(shape: Shape | None) -> dict[str, object]:
    if shape is None:
        return {}
    sample: dict[str, object] = {}
    for name in shape.required_members:
        kind = shape.members[name].type_name
        sample[name] = {"string": "a:b/c", "integer": 1, "long": 1, "list": ["x"], "blob": b"x"}.get(kind, {})
    return sample


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (
            "/2015-03-31/functions/arn:aws:lambda:us-east-1:000000000000:function:f",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
        ),
        (
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af",
            "arn:aws:lambda:us-east-1:000000000000:function:f",
        ),
        ("/2015-03-31/functions/a%252Fb", "a%2Fb"),
        ("/2015-03-31/functions/a%2Fb", "a/b"),
        ("/2015-03-31/functions/f/", "f"),
    ],
)
def test_labels_are_decoded_exactly_once(router: Router, path: str, name: str) -> None:
    route = router.route("GET", path, {})
    assert route is not None
    assert (route.operation.name, route.labels) == ("GetFunction", {"FunctionName": name})


def test_a_trailing_slash_is_ignored_as_older_sdks_send_it(router: Router) -> None:
    for path in ("/2015-03-31/functions", "/2015-03-31/functions/"):
        route = router.route("GET", path, {})
        assert route is not None
        assert route.operation.name == "ListFunctions"


@pytest.mark.parametrize(
    ("query", "operation"),
    [("", "ListLayers"), ("find=LayerVersion&Arn=x", "GetLayerVersionByArn"), ("find=Other", "ListLayers")],
)
def test_query_parameters_in_a_template_select_the_operation(router: Router, query: str, operation: str) -> None:
    route = router.route("GET", "/2018-10-31/layers", parse_query(query))
    assert route is not None
    assert route.operation.name == operation


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "//2015-03-31/functions"),
        ("PATCH", "/2015-03-31/functions/f"),
        ("GET", "/2015-03-31/functions/f/nothing"),
        ("GET", "/2015-03-31/" + "a/" * 5000),
        ("GET", "*"),
        ("GET", ""),
    ],
)
def test_paths_and_methods_of_no_operation_have_no_route(router: Router, method: str, path: str) -> None:
    assert router.route(method, path, {}) is None
