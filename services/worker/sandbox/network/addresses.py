"""Addresses that are the same in every sandbox. Python 3.8, standard library only.

They are link-local ones, which lead nowhere else: so nothing that a function may want to reach is hidden behind them.
"""

RUNTIME_API = "169.254.100.1"
"""On the sandbox's own loopback device: where the Runtime API answers, and AWS_LAMBDA_RUNTIME_API says."""
RUNTIME_API_PORT = 9001

ENDPOINT = "169.254.100.2"
"""Where the cluster's endpoint and the resolver answer, for functions that have a network. It is their gateway, too."""
ENDPOINT_PORT = 9000
ENDPOINT_URL = "http://169.254.100.2:9000"
"""What a function's AWS_ENDPOINT_URL is."""
RESOLVER_PORT = 53
