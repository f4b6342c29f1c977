"""The real `modal deploy`, in a process of its own, and what it registered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.modal.control_plane import ControlPlane
from tests.waiting import PROGRAM_SECONDS

FOLDER = ROOT / "modal_deployments"
FILES = sorted(FOLDER.glob("*.py"))


@dataclass(frozen=True, slots=True)
class Deployed:
    """One app. ``functions`` are Modal's messages by name; a class is ``Class.*``."""

    app: str
    output: str
    plane: ControlPlane

    @property
    def functions(self) -> Mapping[str, Any]:
        asked = [request.function for request in self.plane.asked["FunctionCreate"]]
        return {function.function_name: function for function in asked}

    @property
    def images(self) -> set[bytes]:
        """Every layer of every image."""
        asked = self.plane.asked["ImageGetOrCreate"]
        return {request.image.SerializeToString(deterministic=True) for request in asked}

    @property
    def commands(self) -> str:
        """What the layers are built with."""
        asked = self.plane.asked["ImageGetOrCreate"]
        return "\n".join(line for one in asked for line in one.image.dockerfile_commands)

    @property
    def mounted(self) -> dict[str, str]:
        """Files that containers see besides their images, with their hashes."""
        asked = self.plane.asked["MountGetOrCreate"]
        return {file.filename: file.sha256_hex for request in asked for file in request.files}

    def variables(self, function: str) -> dict[str, str]:
        """Those that the containers of ``function`` get, keys excepted."""
        return self.plane.variables_of(self.functions[function].secret_ids)

    @property
    def secrets(self) -> dict[str, list[str]]:
        """The named ones, and the keys that they must have."""
        asked = self.plane.asked["SecretGetOrCreate"]
        return {
            one.deployment_name: list(one.required_keys) for one in asked if one.deployment_name
        }


def bare_environment() -> dict[str, str]:
    """This session's, with no setting of ours or of Modal's client."""
    ours = ("REFLECTOR_", "MODAL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def deploy(file: Path, *, environment: Mapping[str, str] = {}) -> Deployed:
    """Deploy ``file`` with the package beside it, against a control plane of its own."""
    with ControlPlane(secrets=["reflector-gpu", "reflector-gpu-hub"]) as plane:
        source = {"PYTHONPATH": str(file.parent.parent / "src")}
        done = subprocess.run(
            [sys.executable, "-m", "modal", "deploy", str(file)],
            cwd=file.parent.parent,
            env={**bare_environment(), **plane.environment, **source, **environment},
            capture_output=True,
            text=True,
            timeout=PROGRAM_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert not plane.unknown
        (published,) = plane.asked["AppPublish"]
        return Deployed(published.name, done.stdout, plane)
