"""Our variables of the environment, and others that only look like ours."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable

from reflector_gpu.errors import ConfigurationError
from reflector_gpu.suggest import suggestion

SERVER_VARIABLE = "REFLECTOR_SERVER"
"""The server that commands ask if ``--server`` names none. It is no setting of a server."""

_OF_A_SERVICE = re.compile(
    r"(.*_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")


def is_service_address(value: object) -> bool:
    """Whether ``value`` is an address as Kubernetes and Docker put into ``<SERVICE>_PORT``."""
    return isinstance(value, str) and _ADDRESS.fullmatch(value) is not None


def variables_set() -> dict[str, str]:
    """The variables that are not empty, by name in capitals, as pydantic-settings reads them.

    Kubernetes gives every pod variables of the services beside it. Those of a service named
    ``reflector`` or ``reflector-gpu`` look like our settings, and are left out.
    """
    found = {name.upper(): value for name, value in os.environ.items() if value}
    return {
        name: value
        for name, value in found.items()
        if not _OF_A_SERVICE.fullmatch(name)
        and not (name.endswith("_PORT") and is_service_address(value))
    }


def refuse_unknown(prefix: str, known: Collection[str], others: Collection[str] = ()) -> None:
    """Raise `ConfigurationError` if a variable begins with ``prefix`` and is not ``known``.

    Those that begin with one of ``others`` are not checked here.
    """
    strangers = [
        name
        for name in sorted(variables_set())
        if name.startswith(prefix) and name not in known and not name.startswith(tuple(others))
    ]
    if strangers:
        raise ConfigurationError("\n".join(_complaint(name, prefix, known) for name in strangers))


def refuse_unknown_names(names: Iterable[str], known: Collection[str]) -> None:
    """Raise `ConfigurationError` if one of the ``names`` of settings is not ``known``."""
    strangers = [name for name in names if name not in known]
    if strangers:
        raise ConfigurationError("\n".join(_complaint(name, "", known) for name in strangers))


def _complaint(name: str, prefix: str, known: Collection[str]) -> str:
    by_rest = {one.removeprefix(prefix): one for one in known}
    meant = suggestion(name.removeprefix(prefix), by_rest)
    if meant:
        return f"{name}: there is no such setting; did you mean {by_rest[meant]}?"
    return f"{name}: there is no such setting; 'reflector-gpu config' lists them."
