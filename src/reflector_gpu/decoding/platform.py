"""Which decoders this platform has."""

from __future__ import annotations

import sys

from reflector_gpu.decoding.base import StartedDecoders
from reflector_gpu.decoding.processes import ProcessDecoders
from reflector_gpu.decoding.threads import ThreadDecoders


def decoders(memory: int) -> StartedDecoders:
    """What this platform offers. A recording may take ``memory`` bytes, where that can be bounded.

    Only Linux can fork a decoder within milliseconds and confine it. Elsewhere threads do the work.
    """
    return ProcessDecoders(memory) if sys.platform == "linux" else ThreadDecoders()
