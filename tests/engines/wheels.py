"""A package index in a folder: wheels as pip wants them, with nothing but data inside."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

_METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make(folder: Path, requirement: str, files: Mapping[str, bytes]) -> Path:
    """A wheel that fulfils ``requirement`` (``name==version``) and holds ``files``."""
    name, _, version = requirement.partition("==")
    plain = name.replace("-", "_")
    about = f"{plain}-{version}.dist-info"
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{about}/METADATA", _METADATA.format(name=name, version=version))
        archive.writestr(f"{about}/WHEEL", _WHEEL)
        archive.writestr(f"{about}/RECORD", "")
    return path


def environment(folder: Path) -> dict[str, str]:
    """Variables by which pip finds the wheels in ``folder`` and nothing else."""
    return {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
    }
