"""The page at ``/``, on which people ask a mixture and watch its layers. Its files stand in the folder ``web``.

A model's answer is hostile input. The page shows it as text, and its policy lets the browser run, load and send nothing
but what this server serves.
"""

# FastAPI keeps the functions that it decorates.
# pyright: reportUnusedFunction=false

from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

_FOLDER = Path(__file__).parent / "web"
_INDEX = "index.html"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FILES = {file.name: file.read_bytes() for file in sorted(_FOLDER.iterdir())}
PATHS = frozenset({"/", *(f"/page/{name}" for name in _FILES)})
"""The page's own paths. They need no key: the page asks for one."""
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_page(app: FastAPI) -> None:
    """The page and its files."""
    html: dict[str, Any] = {"content": {"text/html": {}}, "description": "The page."}

    @app.get("/", response_class=Response, responses={200: html})
    async def page() -> Response:
        """Show a page on which people ask the mixtures and watch their layers."""
        return _response(_INDEX)

    @app.get("/page/{name}", include_in_schema=False)
    async def page_file(name: str) -> Response:
        if name not in _FILES:
            raise HTTPException(404)
        return _response(name)


def _response(name: str) -> Response:
    return Response(_FILES[name], media_type=_TYPES[Path(name).suffix], headers=_HEADERS)
