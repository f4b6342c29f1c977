"""The protocol of what counts the audio that is worked on."""

from __future__ import annotations

from typing import Protocol


class Tally(Protocol):
    """Is told of one recording's length. See `runtime.admission.RecordingTally`."""

    def expect(self, seconds: float) -> None:
        """The recording claims to be ``seconds`` long, or is known to be in the end."""

    def decoded(self, seconds: float, plausible: float) -> None:
        """The first ``seconds`` have been decoded; so many are ``plausible``.

        What this raises ends the work.
        """

    def channels(self, count: int) -> None:
        """So many channels of the recording are worked on, each as long as it is. One, unless this
        says otherwise."""


class Uncounted:
    """A `Tally` that counts nothing."""

    def expect(self, seconds: float) -> None: ...

    def decoded(self, seconds: float, plausible: float) -> None: ...

    def channels(self, count: int) -> None: ...


UNCOUNTED = Uncounted()
