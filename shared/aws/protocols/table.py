"""All protocols by name."""

from __future__ import annotations

from shared.aws.protocols.json_rpc import Json
from shared.aws.protocols.protocol import WireProtocol
from shared.aws.protocols.query import Ec2, Query
from shared.aws.protocols.rest_json import RestJson
from shared.aws.protocols.rest_xml import RestXml
from shared.aws.protocols.rpc_v2_cbor import RpcV2Cbor

PROTOCOLS: dict[str, WireProtocol] = {
    found.name: found for found in (RestJson(), Json(), Query(), Ec2(), RestXml(), RpcV2Cbor())
}
"""By the names that botocore's models have for them."""
