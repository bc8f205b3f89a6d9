"""Secrets Manager, of which a cluster has the secrets of EventBridge's connections and no others."""
