"""What jobs have to know about their owners."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class Owners(Protocol):
    """Those who submit jobs. What they may do can change while their jobs wait."""

    def check_key(self, owner: str) -> None:
        """
        Raises:
            Unauthorized: the key was revoked.
        """

    def check_quota(self, owner: str) -> None:
        """
        Raises:
            QuotaExceeded: the key has used its audio of this day.
        """

    def using(self, owner: str, seconds: float) -> AbstractContextManager[None]:
        """Count ``seconds`` of audio for the quota of ``owner``, which the block writes down.

        They do not count if the block fails.
        """
