"""Runs in an environment with aws-sam-translator: a SAM template (JSON) on standard input, CloudFormation's on standard output."""

import json
import sys

from samtranslator.translator.transform import transform


class NoManagedPolicies:
    """Policies are IAM's; the template names its role itself."""

    def load(self):
        return {}


json.dump(transform(json.load(sys.stdin), {}, NoManagedPolicies()), sys.stdout)
