"""``python -m benchmarks``: see `command`, or `gpu`, for machines that have nothing but PyTorch."""

from __future__ import annotations

import sys

if sys.argv[1:2] == ["gpu"]:
    from benchmarks.gpu import main

    main(sys.argv[2:])
else:
    from benchmarks.command import main as run

    run()
