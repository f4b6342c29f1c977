"""What jobs have to know about their owners."""

from __future__ import annotations

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

    def will_be_used(self, owner: str, seconds: float) -> None:
        """So many ``seconds`` of audio are about to be written down for ``owner``."""
