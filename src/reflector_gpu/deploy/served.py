"""The settings of a server whose callers all come through a cloud's or a cluster's proxies."""

from __future__ import annotations

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.settings import Settings, load_settings
from reflector_gpu.store.configured import has_keys


def served(cores: int, **chosen: object) -> Settings:
    """The settings of a server that computes on ``cores``. Its workers fetch weights; it does not.

    Raises:
        ConfigurationError: there is no key.
    """
    everywhere = "0.0.0.0"  # noqa: S104  where the proxies reach it
    settings = load_settings(
        host=everywhere,
        auto_pull=False,
        workers=cores,
        trusted_networks=(),  # all callers have addresses of proxies
        trusted_proxies=(),
        **chosen,
    )
    if not (settings.keys or settings.insecure or has_keys(settings)):
        raise ConfigurationError("Clients of this deployment need a key: set REFLECTOR_APIKEY.")
    return settings
