"""The interactive documentation, with all its files, so that it works without the internet.

The folder ``api/swagger_ui`` has the files of npm's swagger-ui-dist that it needs, and
``start.js``, which is ours.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from reflector_gpu.api.dependencies import AppService
from reflector_gpu.api.routes import console
from reflector_gpu.version import __version__

_SWAGGER_UI = "5.35.0"
"""The files' version. It is part of their paths, so that browsers may cache them forever."""

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_ADDRESSES = {f"/docs/{_SWAGGER_UI}/{__version__}/{name}": name for name in _ASSETS}

DOCS = frozenset({"/docs", "/openapi.json", *_ADDRESSES})
"""Paths that need no key if the setting ``public_docs`` says so."""

ROOT = "/"
"""A path that needs no key."""

_PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>reflector-gpu</title>
<link rel="stylesheet" href="docs/{_SWAGGER_UI}/{__version__}/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/{_SWAGGER_UI}/{__version__}/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/{_SWAGGER_UI}/{__version__}/swagger-ui-bundle.js"></script>
<script src="docs/{_SWAGGER_UI}/{__version__}/start.js"></script>
</body>
</html>
"""
"""Links are relative, so that the page also works under a reverse proxy's own path."""

_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script, and nothing from other hosts, because the page handles keys."""

_YEAR = 365 * 24 * 3600


router = APIRouter(tags=["operations"], include_in_schema=False)


async def root(request: Request, service: AppService) -> Response:
    """Browsers get the console or, without it, the documentation if they may read it.

    All others get an overview.
    """
    public = service.settings.public_docs
    if "text/html" in request.headers.get("accept", ""):
        if service.settings.console:
            return console.page(jobs=request.app.state.jobs is not None)
        if public:
            return RedirectResponse("docs", headers={"Vary": "Accept"})
    overview = {"name": "reflector-gpu", "health": "/health", "models": "/v1/models"}
    if public:
        overview |= {"version": __version__, "docs": "/docs"}
    return JSONResponse(overview, headers={"Vary": "Accept"})


def document(request: Request) -> Response:
    """The OpenAPI document. This is no coroutine, so that others need not wait while it is made."""
    return JSONResponse(request.app.openapi())


async def page() -> Response:
    """Swagger UI."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


async def asset(path: str, service: AppService) -> Response:
    """One of the page's files."""
    name = _ADDRESSES.get(f"/docs/{path}")
    if name is None:
        raise HTTPException(404)
    scope = "public" if service.settings.public_docs else "private"
    headers = {"Cache-Control": f"{scope}, max-age={_YEAR}, immutable"}
    return FileResponse(_folder() / name, media_type=_ASSETS[name], headers=headers)


_METHODS = ["GET", "HEAD"]
router.add_api_route(ROOT, root, methods=_METHODS)
router.add_api_route("/openapi.json", document, methods=_METHODS)
router.add_api_route("/docs", page, methods=_METHODS)
router.add_api_route("/docs/{path:path}", asset, methods=_METHODS)


def _folder() -> Path:
    return Path(str(files("reflector_gpu.api"))) / "swagger_ui"
