"""What tests do in the web console, and read there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.clients.server import ROOT
from tests.clients.support import absent

STANDUP = ROOT / "samples" / "standup.ogg"


def transcribed(page: Any, speakers: str = "auto") -> None:
    """Have the page transcribe a conversation of a minute."""
    page.set_input_files("#file", STANDUP)
    page.select_option("#speakers", speakers)
    page.click("#go")
    page.locator("#result").wait_for()


def plays(page: Any) -> None:
    """Play the recording until some of it has been heard."""
    page.evaluate(
        """() => {
          const { play } = HTMLMediaElement.prototype;
          HTMLMediaElement.prototype.play = function () {
            this.addEventListener("timeupdate", () => {
              if (this.played.length) document.body.dataset.heard = "";
            });
            return play.call(this);
          };
        }"""
    )
    page.click("#play")
    page.locator("body[data-heard]").wait_for()


def opened(page: Any, rows: Sequence[object]) -> None:
    """Open a transcript that was saved earlier."""
    body = json.dumps({"language": "en", "segments": rows}).encode()
    file = {"name": "saved.json", "mimeType": "application/json", "buffer": body}
    page.set_input_files("#file", file)
    page.locator("#result").wait_for()


def segment(start: float, words: str, speaker: str = "A", probability: float = 0.9) -> object:
    """A segment with a word every half second."""
    return {
        "start": start,
        "end": start + len(words.split()) / 2,
        "text": words,
        "speaker": speaker,
        "words": [
            {
                "word": f" {word}",
                "start": start + place / 2,
                "end": start + place / 2 + 0.4,
                "probability": probability,
            }
            for place, word in enumerate(words.split())
        ],
    }


def marked(page: Any, name: str) -> list[str]:
    """The texts under a mark, once the page has been painted."""
    script = """async (name) => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      return [...(CSS.highlights.get(name) ?? [])].map(String);
    }"""
    return list(page.evaluate(script, name))


def saved(page: Any, ending: str) -> str:
    """The text of the file that the page saves."""
    with page.expect_download() as download:
        page.click(f"#save-{ending}")
    return str(Path(download.value.path()).read_text())


def complaints_of_axe(page: Any) -> list[str]:
    """What axe-core finds wrong with the page as it is now."""
    axe = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.exists():
        absent("axe-core is not installed")
    page.evaluate(axe.read_text())
    page.evaluate("document.getAnimations().forEach((one) => one.finish())")
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


TALK = [segment(0.0, "good morning to all"), segment(2.0, "the bugdet is fine", "B")]
