"""Plain HTTP on the same port: health, readiness, information, and the browser client's files."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from importlib import resources
from pathlib import PurePath
from typing import Any, Final, NamedTuple

import msgspec
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from emotion.engine import Engine
from emotion.errors import MessageError
from emotion.messages import PROTOCOL, Limits
from emotion.package import installed_version
from stream_server.admission import Admission
from stream_server.auth import Authenticator, Role
from stream_server.config import Config
from stream_server.metrics import CONTENT_TYPE, Metrics

HEALTH: Final = ("/healthz", "/readyz")
"""Asked by whoever keeps the server running, every second perhaps: nobody is kept from these."""
INFO: Final = "/v1/info"
METRICS: Final = "/metrics"
STREAM: Final = "/v1/stream"
MONITOR: Final = "/v1/monitor"
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
KINDS: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": JSON,
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
"""Of the pages' files. Not what `mimetypes` says: it asks the machine, and with `nosniff` a browser runs
no script that a Windows registry calls text/plain."""
PAGES: Final = {"/": "/index.html", "/dashboard": "/dashboard.html"}
"""Paths that are served from a file of another name."""
PAGE_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
        "img-src 'self' data:; font-src 'self'; media-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of the pages' files: nothing from elsewhere, nothing inline, in nobody's frame. The browser keeps a
file, and asks each time whether it is still the same."""


class PageFile(NamedTuple):
    """A file of the pages: its bytes, their type, and a tag that changes with them."""

    body: bytes
    kind: str
    tag: str


WELCOME: Final = f"""emotion-monitor listens here.

{STREAM}    WebSocket: audio in, emotions out; emotion-client file speech.wav speaks it
{MONITOR}   WebSocket: the events of all streams; emotion-client monitor shows them
{INFO}      the model, the limits, the sessions
{METRICS}      for Prometheus
/healthz      whether the server is alive
/readyz       whether it takes sessions
"""


class Site:
    """Answers plain HTTP requests.

    Args:
        engine: the model that is served.
        config: the server's settings.
        admission: for readiness and the number of sessions.
        authenticator: who may see more than that.
        metrics: what there is to see.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        admission: Admission,
        authenticator: Authenticator,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._config = config
        self._admission = admission
        self._authenticator = authenticator
        self._metrics = metrics
        self._guarded = {INFO} if config.open_metrics else {INFO, METRICS}
        self._files = browser_files()

    def respond(self, request: Request) -> Response:
        """The answer to a request that asks for no WebSocket."""
        if request.method not in ("GET", "HEAD"):
            return response(
                HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD\n", {"Allow": "GET, HEAD"}
            )
        path = request.path.split("?")[0]
        answer = self._refusal(request) if path in self._guarded else None
        if answer is None:
            file = self._files.get(path)
            answer = page_response(file, request) if file else self._answer(path)
        if request.method == "HEAD":
            answer.body = b""
        return answer

    def _refusal(self, request: Request) -> Response | None:
        """The answer to who may not see what is guarded."""
        try:
            self._authenticator.of_request(request).require(Role.MONITOR)
        except MessageError as refusal:
            self._admission.refused("unauthorized")
            return unauthorized_response(refusal)
        return None

    def _answer(self, path: str) -> Response:
        if path == "/healthz":
            return response(HTTPStatus.OK, "alive\n")
        if path == "/readyz":
            ready = not self._admission.draining
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            return response(status, "ready\n" if ready else "shutting down\n")
        if path == INFO:
            return response(HTTPStatus.OK, msgspec.json.encode(self._info()), kind=JSON)
        if path == METRICS:
            return response(HTTPStatus.OK, self._metrics.exposition(), kind=CONTENT_TYPE)
        if path == "/":  # a server without its pages
            return response(HTTPStatus.OK, WELCOME)
        if path in (STREAM, MONITOR):
            return response(
                HTTPStatus.UPGRADE_REQUIRED,
                f"{path} is a WebSocket: connect with ws:// or wss://\n",
                {"Upgrade": "websocket"},
            )
        return response(HTTPStatus.NOT_FOUND, f"no such path; try {STREAM}, {INFO} or /healthz\n")

    def _info(self) -> dict[str, Any]:
        contract = self._engine.contract
        return {
            "server": "emotion-monitor",
            "version": installed_version(),
            "protocol": PROTOCOL,
            "model": {
                "name": contract.name,
                "version": contract.version,
                "labels": contract.labels,
                "precision": contract.precision,
                "adaptable": self._engine.adaptable,
                "metrics": contract.metrics,
                "licence": contract.licence,
                "data": contract.data,
            },
            "device": self._engine.device,
            "threads": self._config.workers,
            "analyzable": self._config.analyzable,
            "sessions": {"active": self._admission.active, "max": self._admission.max_sessions},
            "limits": msgspec.to_builtins(Limits(idle_timeout_s=self._config.idle_timeout_s)),
        }


def response(
    status: HTTPStatus,
    body: str | bytes,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = TEXT,
) -> Response:
    """A whole HTTP response; the connection is closed after it."""
    content = body.encode() if isinstance(body, str) else body
    fields = {
        "Content-Type": kind,
        "Content-Length": str(len(content)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
        **(headers or {}),
    }
    return Response(status.value, status.phrase, Headers(fields), content)


def no_websocket(path: str) -> Response:
    """The answer to a handshake at a path that has no WebSocket: 404, and where there is one."""
    return response(
        HTTPStatus.NOT_FOUND,
        f"no WebSocket at {path[:64]!r}: audio goes to {STREAM}, {MONITOR} sends events\n",
    )


def unauthorized_response(refusal: MessageError) -> Response:
    """What a plain client without the right credentials gets."""
    return response(HTTPStatus.UNAUTHORIZED, refusal.message + "\n", {"WWW-Authenticate": "Bearer"})


def page_response(file: PageFile, request: Request) -> Response:
    """A file of the pages, or that the browser's copy is still the same."""
    headers = {**PAGE_HEADERS, "ETag": file.tag}
    known = ",".join(request.headers.get_all("If-None-Match"))
    if file.tag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        answer = response(HTTPStatus.NOT_MODIFIED, b"", headers, kind=file.kind)
        del answer.headers["Content-Length"]  # it would be the file's, of which nothing comes
        return answer
    return response(HTTPStatus.OK, file.body, headers, kind=file.kind)


def browser_files() -> dict[str, PageFile]:
    """The files of `clients/browser` by path: read once, so no path can escape."""
    folder = resources.files("clients") / "browser"
    files = {}
    if folder.is_dir():
        for file in folder.iterdir():
            kind = KINDS.get(PurePath(file.name).suffix)
            if kind and file.is_file() and not file.name.startswith("."):
                body = file.read_bytes()
                tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
                files[f"/{file.name}"] = PageFile(body, kind, tag)
    return files | {path: files[name] for path, name in PAGES.items() if name in files}
