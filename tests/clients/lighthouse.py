"""Have Lighthouse judge the console of a server of its own: ``make lighthouse``.

It needs Chromium, and npm fetches Lighthouse. Below 95 of 100 in anything is a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clients.server import serving

LIGHTHOUSE = "lighthouse@12.8.2"
CATEGORIES = ("performance", "accessibility", "best-practices")
LEAST = 0.95


def main() -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is not on this machine: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        settings = {"MODEL": "scripted", "WORKERS": "1", "DATA_DIR": str(folder / "data")}
        with serving(folder, settings) as server:
            judged = {
                form: _scores(server.url, folder / f"{form}.json", chromium, *options)
                for form, options in {"mobile": (), "desktop": ("--preset=desktop",)}.items()
            }
    for form, scores in judged.items():
        told = (f"{name} {100 * score:.0f}" for name, score in scores.items())
        sys.stdout.write(f"{form}: {', '.join(told)}\n")
    return int(min(score for scores in judged.values() for score in scores.values()) < LEAST)


def _scores(url: str, report: Path, chromium: str, *options: str) -> dict[str, float]:
    subprocess.run(
        [
            *("npx", "--yes", LIGHTHOUSE, url, "--quiet", *options),
            *("--output=json", f"--output-path={report}"),
            "--chrome-flags=--headless=new --no-sandbox --disable-gpu",
            f"--only-categories={','.join(CATEGORIES)}",
        ],
        env={**os.environ, "CHROME_PATH": chromium},
        check=True,
    )
    told = json.loads(report.read_text())["categories"]
    return {name: float(told[name]["score"]) for name in CATEGORIES}


if __name__ == "__main__":
    sys.exit(main())
