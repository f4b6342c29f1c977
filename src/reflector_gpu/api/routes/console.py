"""The web console: a page that transcribes, shows and edits, which uses the public API alone.

The folder ``api/console`` has its files. They are served as they are, and load nothing from other
hosts.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from string import Template

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response

FOLDER = Path(__file__).parent.parent / "console"

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
"""What the page may load, by the endings of names."""

_FILES = sorted(path for path in FOLDER.rglob("*") if path.suffix in _TYPES)


def _digest() -> str:
    """A name for the files as they are now."""
    found = hashlib.sha256()
    for path in _FILES:
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


_PLACE = f"console/{_digest()}"
"""The files' folder on the server. Its name changes with them, so that browsers may keep them."""

ADDRESSES = {f"/{_PLACE}/{path.relative_to(FOLDER).as_posix()}": path for path in _FILES}
"""Paths that need no key: the page is there before the key is typed."""

FAVICON = "/favicon.ico"
"""Browsers ask for this by themselves."""

_PAGE = Template((FOLDER / "index.html").read_text("utf-8"))

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; "
    "img-src 'self' data: blob:; connect-src 'self' blob:; media-src 'self' blob: http: https:; "
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script, because the page handles keys.

Audio may come from anywhere: a recording that the server fetched is played from where it is. The
nonce is for the style that the waveform puts into its shadow tree.
"""

_YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


def page(*, jobs: bool) -> Response:
    """The page. Its links are relative, so that it also works under a proxy's own path.

    It is told whether the server keeps ``jobs``, and with them what keys have used.
    """
    nonce = secrets.token_urlsafe(16)
    headers = {
        "Content-Security-Policy": _POLICY.format(nonce=nonce),
        "Cache-Control": "no-store",
        "Vary": "Accept",
    }
    return HTMLResponse(
        _PAGE.substitute(place=_PLACE, nonce=nonce, jobs="yes" if jobs else "no"), headers=headers
    )


@router.get("/console/{name:path}")
@router.head("/console/{name:path}")
async def file(name: str) -> Response:
    """One of the page's files. It is one route, so that metrics have one label for all of them."""
    path = ADDRESSES.get(f"/console/{name}")
    if path is None:
        raise HTTPException(404)
    headers = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=headers)


@router.get(FAVICON)
async def favicon() -> Response:
    """The page's icon."""
    return FileResponse(FOLDER / "icon.svg", media_type=_TYPES[".svg"])
