#!/bin/sh
# `make test-compose`; see test_compose.py beside it.
cd "$(dirname "$0")/../.." && exec .venv/bin/python -m deploy.docker.test_compose "$@"
