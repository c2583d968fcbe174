"""The page that raters see, and its requests.

Nothing that leaves here names a method: a picture's address is the rater's token, the trial's number and the side, its
file was written by one encoder without metadata, and answers carry no dates or tags of files.

    GET  /, /rate/TOKEN                      the page
    POST /raters              {name}      -> {token}
    GET  /raters/TOKEN                    -> {name, protocol, total, rated}
    GET  /raters/TOKEN/trials/N           -> {n, width, height, pictures, answer}
    PUT  /raters/TOKEN/trials/N  {answer, seconds, zoom} -> {rated}, once it is on the disk
    GET  /raters/TOKEN/trials/N/SIDE         a picture
"""

import base64
import contextlib
import functools
import hashlib
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Literal, TypeVar

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.files import reason_of
from resharp.locks import exclusive, holder, is_held

from .definition import PICTURES, Study, read_study
from .plan import Trial
from .ratings import Ratings

LONGEST_BODY = 4096  # bytes
_TAKEN = "Somebody rates under this name. If that is you, go on in the browser where you began, or with its link."
_LOG = logging.getLogger("resharp")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # addresses hold tokens
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestError(Exception):
    """An answer that is no success: its status, and a line for the rater."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Newcomer(_Body):
    name: str


class _Said(_Body):
    answer: int
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    zoom: Literal["natural", "fit"]


_SomeBody = TypeVar("_SomeBody", bound=_Body)


def application(study: Study, folder: Path, ratings: Ratings) -> Starlette:
    """The ASGI application of a study whose pictures lie in `folder`."""
    page, policy = _page()
    scenes = {scene.name: scene for scene in study.scenes}

    def show_page(request: Request, body: bytes) -> Response:
        del request, body
        return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})

    def add_rater(request: Request, body: bytes) -> Response:
        del request
        token = ratings.add_rater(_parsed(body, _Newcomer).name)
        if token is None:
            raise RequestError(409, _TAKEN)
        return JSONResponse({"token": token}, 201)

    def tell_session(request: Request, body: bytes) -> Response:
        del body
        number, name = rater_of(request)
        facts = {"name": name, "protocol": study.protocol, "total": study.n_trials, "rated": ratings.n_rated(number)}
        return JSONResponse(facts)

    def tell_or_store(request: Request, body: bytes) -> Response:
        number, _ = rater_of(request)
        n = request.path_params["n"]
        if request.method == "PUT":
            said = _parsed(body, _Said)
            return JSONResponse({"rated": ratings.store(number, n, said.answer, seconds=said.seconds, zoom=said.zoom)})
        trial = trial_of(request)
        scene = scenes[trial.scene]
        pictures = [f"{request.url.path}/{side}" for side in range(len(trial.shown))]
        facts = {"n": n, "width": scene.width, "height": scene.height, "pictures": pictures}
        return JSONResponse(facts | {"answer": ratings.answer_to(number, n)})

    def send_picture(request: Request, body: bytes) -> Response:
        del body
        shown, side = trial_of(request), request.path_params["side"]
        if side >= len(shown.shown):
            raise RequestError(404, "There is no such picture.")
        path = folder / PICTURES / scenes[shown.scene].pictures[shown.shown[side]]
        # No dates and no tags of the file: they would tell which pictures come again.
        return Response(path.read_bytes(), media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    def rater_of(request: Request) -> tuple[int, str]:
        found = ratings.rater(request.path_params["token"])
        if found is None:
            raise RequestError(404, "This link belongs to no rater of this study; begin with your name.")
        return found

    def trial_of(request: Request) -> Trial:
        trial = ratings.trial(rater_of(request)[0], request.path_params["n"])
        if trial is None:
            raise RequestError(404, "There is no such picture yet; load the page again.")
        return trial

    trial = "/raters/{token}/trials/{n:int}"
    return Starlette(
        routes=[
            Route("/", _endpoint(show_page)),
            Route("/rate/{token}", _endpoint(show_page)),
            Route("/raters", _endpoint(add_rater), methods=["POST"]),
            Route("/raters/{token}", _endpoint(tell_session)),
            Route(trial, _endpoint(tell_or_store), methods=["GET", "PUT"]),
            Route(trial + "/{side:int}", _endpoint(send_picture)),
        ]
    )


def _endpoint(answer: Callable[[Request, bytes], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Runs a function of a request and its body in a thread; every failure is one line of JSON."""

    async def endpoint(request: Request) -> Response:
        try:
            response = await run_in_threadpool(answer, request, await _body(request))
        except RequestError as error:
            response = JSONResponse({"error": str(error)}, error.status)
        except ArgumentError as error:
            response = JSONResponse({"error": str(error)}, 422)
        except (OutputError, OSError) as error:
            told = str(error) if isinstance(error, OutputError) else f"{error.filename}: {reason_of(error)}"
            _LOG.warning("%s", told)
            response = JSONResponse({"error": "The study's computer cannot read or store anything just now."}, 503)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.update(_HEADERS)
        return response

    return endpoint


async def _body(request: Request) -> bytes:
    """Raises RequestError for what is too long, or not declared as JSON, which no form of another site can be."""
    if request.method in ("GET", "HEAD"):
        return b""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError(415, "Only JSON is taken here.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_BODY:
            raise RequestError(413, "That is too long.")
    return body


def _parsed(body: bytes, kind: type[_SomeBody]) -> _SomeBody:
    """Raises ArgumentError, naming the field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        what = error.errors()[0]
        raise ArgumentError(f"{'.'.join(map(str, what['loc'])) or 'request'}: {what['msg']}") from None


@functools.cache
def _page() -> tuple[str, str]:
    """The page, and the policy under which it runs its own script and style and loads from nowhere else."""
    page = (resources.files(__package__) / "templates" / "rate.html").read_text(encoding="utf-8")
    hashes = {}
    for tag in ("script", "style"):
        parts = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        hashes[tag] = " ".join(f"'sha256-{digest}'" for digest in digests)
    policy = "default-src 'none'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    policy += f"frame-ancestors 'none'; script-src {hashes['script']}; style-src {hashes['style']}"
    return page, policy


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections there, port 0 being any free one.  Raises ArgumentError where that cannot be."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArgumentError(f"{host}, port {port}: cannot listen there ({reason}); choose another --port") from None


@contextlib.contextmanager
def served(folder: Path, host: str, port: int) -> Iterator[tuple[uvicorn.Server, Callable[[], None], Ratings, str]]:
    """(server, what runs it until Ctrl-C or its `should_exit`, ratings, address) of a study, for this block alone.

    Raises DatasetError for what is no study or is served already, ArgumentError where one cannot listen, OutputError
    where the ratings are damaged or, at the end, not where they belong: it says where they are.
    """
    study = read_study(folder)
    if is_held(folder):
        raise DatasetError(
            f"{folder}: {holder(folder)} serves it already; raters open the address which that one printed, or end it "
            "there with Ctrl-C and serve it again"
        )
    with exclusive(folder), contextlib.closing(Ratings(study, folder)) as ratings, listening(host, port) as place:
        settings = uvicorn.Config(
            application(study, folder, ratings),
            log_level="warning", access_log=False, ws="none", lifespan="off", http="h11", proxy_headers=False,
            server_header=False, limit_concurrency=256, timeout_graceful_shutdown=3,
        )  # fmt: skip
        server = uvicorn.Server(settings)
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{place.getsockname()[1]}/"
        try:
            yield server, functools.partial(server.run, sockets=[place]), ratings, address
        finally:
            ratings.make_sure()
