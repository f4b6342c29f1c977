"""What engines can do: recognise, diarize, translate, complete, and hear where turns end.

A capability is a folder of this package. Its ``base`` says what its engines take and give. Its
`Catalog` says which models there are, and `engines.catalogs` lists the catalogs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from reflector_gpu.stages import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that engines do, and how workers call them to do it.

    ``kind`` is what users call a model that does it, and ``purpose`` tells them what it is for.
    ``method`` is the engine's batch method: ``method(items, options)`` gives one result or one
    error for each item, in order. ``stage`` is its name in metrics and traces. If a capability
    ``streams``, the method also gets a `Progress`, which takes parts of a result ahead of the
    whole. ``whole_recordings`` means that an item is a recording of any length, not a piece of one.
    ``reads_weights`` means that the server itself reads a model's files, such as those that list
    its languages.
    """

    kind: str
    purpose: str
    method: str
    stage: Stage
    streams: bool = False
    whole_recordings: bool = False
    reads_weights: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """What one call of an engine takes.

    ``max_items`` is the number of its items. ``max_cost`` is what they may cost together once each
    is padded to the costliest; a capability counts in seconds of audio, characters or tokens.
    ``max_live_cost`` is the same for live requests, which are to have their results soon.
    ``samples`` are the float32 values of shared memory that they need. A call that takes longer
    than ``base_timeout + cost * timeout_per_cost`` seconds is taken to hang.

    If there are several ``lanes``, so many threads may call the engine at once, with one item each.
    """

    max_items: int = 1
    max_cost: float = inf
    max_live_cost: float = inf
    samples: int = 0
    base_timeout: float = 60.0
    timeout_per_cost: float = 10.0
    lanes: int = 1
