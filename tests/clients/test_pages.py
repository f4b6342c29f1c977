"""The examples in JavaScript that the pages have. Those of other languages are run elsewhere."""

from __future__ import annotations

import re

import pytest

from tests.clients.server import KEY, ROOT, Server
from tests.clients.support import output_of_javascript

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(code, id=page.name)
    for page in PAGES
    for code in re.findall(r"^```js\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("code", BLOCKS)
def test_an_example_does_what_it_says(code: str, server: Server) -> None:
    code = code.replace("http://127.0.0.1:8000", server.url).replace("change-me", KEY)
    assert output_of_javascript(code.replace("samples/", f"{ROOT}/samples/")).strip()
