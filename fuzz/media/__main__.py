"""Write crafted or mutated files, to look at one by hand: ``python -m fuzz.media FOLDER [SEED]``.

Without a seed the crafted files are written, with one two hundred mutated ones.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from fuzz.media.crafted import all_crafted
from fuzz.media.mutated import mutated


def main(folder: Path, seed: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    files = all_crafted() if seed is None else mutated(200, seed=int(seed))
    for media in files:
        path = folder / re.sub(r"\W+", "-", media.name)
        path.write_bytes(media.data)
        print(f"{len(media.data):>9} bytes  {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
