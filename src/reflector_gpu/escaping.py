"""Text of clients that is shown to people."""

from __future__ import annotations


def escaped(text: str) -> str:
    """``text`` with escapes for all that does not print: line breaks, colours of terminals, marks
    that turn the order of letters around."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
