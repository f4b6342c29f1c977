"""A pipeline of pyannote.audio 4 in its folder, whose networks were made ONNX.

It has config.yaml, ``segmentation/model.onnx``, ``embedding/model.onnx``, and ``plda/`` with two
files. docs/diarization.md says how the networks of a pyannote pipeline become ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.engines.base import needs_extra
from reflector_gpu.engines.diarization.segmentation.plda import Plda
from reflector_gpu.engines.diarization.segmentation.vbx import Tuning
from reflector_gpu.errors import ModelNotInstalled

CONFIG = "config.yaml"
SEGMENTATION, EMBEDDING = "segmentation/model.onnx", "embedding/model.onnx"

_CLUSTERING = "VBxClustering"


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """Windows are ``step`` apart, a share of one. With ``alone``, voices are described by what is
    said while nobody else speaks. Pauses up to ``pause`` seconds are part of a turn."""

    plda: Plda
    tuning: Tuning
    step: float
    alone: bool
    pause: float


def is_pipeline(folder: Path) -> bool:
    return all((folder / file).is_file() for file in (CONFIG, SEGMENTATION, EMBEDDING))


def read(folder: Path) -> Pipeline:
    """The pipeline in ``folder``.

    Raises:
        ModelNotInstalled: it is damaged, or of another kind.
    """
    config = _Settings(_loaded(folder / CONFIG))
    clustering = config.at("pipeline", "params").get("clustering", _CLUSTERING)
    if clustering != _CLUSTERING:
        raise ModelNotInstalled(
            f"This pipeline clusters by '{str(clustering)[:40]}', not by {_CLUSTERING}. The folder "
            "without its model.onnx files runs in pyannote.audio, which knows both."
        )
    parts, tuned = config.at("pipeline", "params"), config.at("params", "clustering")
    defaults = Tuning()
    return Pipeline(
        Plda(folder / "plda"),
        Tuning(
            _number(tuned, "threshold", defaults.threshold, 0.0, 2.0),
            _number(tuned, "Fa", defaults.evidence, 1e-6, 1e3),
            _number(tuned, "Fb", defaults.restraint, 1e-6, 1e3),
        ),
        _number(parts, "segmentation_step", 0.1, 0.01, 1.0),
        bool(parts.get("embedding_exclude_overlap", False)),
        _number(config.at("params", "segmentation"), "min_duration_off", 0.0, 0.0, 60.0),
    )


@dataclass(frozen=True, slots=True)
class _Settings:
    tree: Mapping[object, object]

    def at(self, *keys: str) -> Mapping[object, object]:
        """The mapping under ``keys``; an empty one if there is none."""
        found: object = self.tree
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def _loaded(file: Path) -> Mapping[object, object]:
    with needs_extra("pyannote's pipelines", "segmentation"):
        import yaml
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelNotInstalled(f"The folder of this pipeline has no readable {CONFIG}.") from error
    if not isinstance(found, Mapping):
        raise ModelNotInstalled(f"The folder of this pipeline has no readable {CONFIG}.")
    return found


def _number(
    settings: Mapping[object, object], key: str, default: float, least: float, most: float
) -> float:
    value = settings.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelNotInstalled(f"'{key}' in {CONFIG} of this pipeline is not a number.")
    if not least <= value <= most:
        raise ModelNotInstalled(
            f"'{key}' in {CONFIG} of this pipeline is {value:g}, not from {least:g} to {most:g}."
        )
    return float(value)
