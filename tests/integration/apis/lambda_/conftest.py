from tests.integration.registry.conftest import control, registry, registry_settings

__all__ = ["control", "registry", "registry_settings"]
