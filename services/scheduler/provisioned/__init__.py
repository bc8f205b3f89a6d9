"""Provisioned concurrency: what is wanted (plans), who compares it with what is there (provisioner), and the starts."""
