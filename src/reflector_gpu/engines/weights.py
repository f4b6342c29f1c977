"""Where a model's files are: a folder of the operator's, or the Hugging Face cache.

Downloads are the hub library's: resumed, checksummed, with ``HF_HOME``, ``HF_ENDPOINT``, tokens and
offline mode as its users know them. Nothing is downloaded unless `Weights.pull` is called.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from reflector_gpu.errors import ModelNotInstalled, UpstreamFailed


@dataclass(frozen=True, slots=True)
class Weights:
    """Files of a hub repository: ``patterns`` to fetch, ``required`` ones to be complete."""

    repository: str
    patterns: tuple[str, ...]
    required: tuple[str, ...]
    megabytes: int

    @property
    def folder(self) -> Path | None:
        """The local copy, if it is complete.

        Reads the hub's documented cache layout instead of importing its library, which takes
        longer than the whole look-up: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
        """
        cached = _cache() / f"models--{self.repository.replace('/', '--')}"
        try:
            commit = (cached / "refs" / "main").read_text().strip()
        except OSError:
            return None
        found = cached / "snapshots" / commit
        return found if all((found / name).exists() for name in self.required) else None

    def pull(self) -> Path:
        """Download what is missing, going on where an earlier attempt stopped.

        The hub library draws its progress bars on stderr.

        Raises:
            UpstreamFailed: the hub can not be reached, or refuses.
            ModelNotInstalled: the hub library is missing.
        """
        try:
            from huggingface_hub import snapshot_download
            from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        except ImportError as error:
            raise ModelNotInstalled(
                "Downloading models needs huggingface-hub: pip install huggingface-hub"
            ) from error
        try:
            return Path(snapshot_download(self.repository, allow_patterns=list(self.patterns)))
        except LocalEntryNotFoundError as error:
            raise UpstreamFailed(
                f"The model hub can not be reached for {self.repository}: check the network, "
                "HF_ENDPOINT and HF_HUB_OFFLINE."
            ) from error
        except (HfHubHTTPError, OSError) as error:
            raise UpstreamFailed(f"Downloading {self.repository} failed: {error}") from error


def _cache() -> Path:
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(
        os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface"
    )
    return Path(home).expanduser() / "hub"
