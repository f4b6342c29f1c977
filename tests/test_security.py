"""SECURITY.md names the tests of its promises: each has to be there."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists() -> None:
    path, named = "", 0
    for file, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(test_\w+))?`", PAGE):
        path = file or path
        if not file and not name:
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | {
            node.name for node in tree.body if isinstance(node, ast.AsyncFunctionDef)
        }
        assert not name or name in tests, f"{path}::{name}"
        named += 1
    assert named > 30
