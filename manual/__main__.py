"""Write docs/configuration.md, which a test compares with the settings: `python -m manual`."""

from __future__ import annotations

from manual import settings_page

settings_page.FILE.write_text(settings_page.text(), encoding="utf-8")
