"""What functions may reach by network."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field, IPvAnyAddress, IPvAnyNetwork


class NetworkSettings(BaseModel):
    """The network of functions."""

    kind: Literal["public", "none"] = Field(
        "public",
        description="`public`: outside, by the host, and the cluster's endpoint; `none`: nothing. A function may do without by "
        "itself: LAMBDAD_NETWORK=none among its variables",
    )
    allowed: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="what functions may reach, e.g. 10.1.0.0/16; all when there is none, private ones too, as on AWS",
    )
    denied: tuple[IPvAnyNetwork, ...] = Field(
        (),
        description="what they may not reach, even if allowed. Besides, never: the worker's host, the cluster's engines, "
        "link-local and metadata addresses, other functions",
    )
    attached: bool = Field(
        True,
        description="whether functions may reach networks that the worker's host is in; not where the cluster's services are",
    )
    bridges: bool = Field(
        False,
        description="whether functions may reach what is behind bridges of the worker's host (containers, virtual machines "
        "on it, engines among them); a bridge that is its way out does not count",
    )
    connections_max: int = Field(
        2_048,
        ge=16,
        le=65_536,
        description="connections of one environment at one time, UDP's for a while after the last packet",
    )
    endpoint_host: str = Field(
        "",
        description="where workers find the cluster's endpoint; by default where the frontend listens, on their own host",
    )
    endpoint_port: int = Field(0, ge=0, le=65_535, description="its port; 0: the frontend's")
    resolvers: tuple[IPvAnyAddress, ...] = Field(
        (), description="DNS servers that functions' questions are passed to; the host's own by default"
    )
