"""The page of a study and its requests, over HTTP on a free port."""

import contextlib
import http.client
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.study.definition import RATINGS, read_study
from resharp.study.ratings import Ratings, _named
from resharp.study.server import listening, served
from tests.study_sets import study_of


class Client:
    """What a browser asks; ratings: those of the server, for what tests do to them."""

    def __init__(self, port: int, ratings: Ratings) -> None:
        self.port, self.ratings = port, ratings

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        status, _, content = self.raw(method, path, body, **headers)
        return status, json.loads(content)

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            content = body if isinstance(body, bytes) or body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"} | headers)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def begin(self, name: str) -> str:
        status, said = self("POST", "/raters", {"name": name})
        assert status == 201, said
        return f"/raters/{said['token']}"

    def rate(self, rater: str, n: int, answer: int) -> tuple[int, Any]:
        return self("PUT", f"{rater}/trials/{n}", {"answer": answer, "seconds": 1.5, "zoom": "natural"})


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Client]:
    with served(folder, "127.0.0.1", 0) as (server, run, ratings, address):
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield Client(int(address.rstrip("/").rpartition(":")[2]), ratings)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module", params=["acr", "pairs"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp(request.param)
    study_of(place, request.param, n_scenes=2)
    return place / "study"


@pytest.fixture
def client(folder: Path) -> Iterator[Client]:
    with serving(folder) as client:
        yield client


def test_a_session_survives_a_restart_and_tells_no_method(folder: Path) -> None:
    study = read_study(folder)
    answers = 5 if study.protocol == "acr" else 2
    with serving(folder) as client:
        rater = client.begin("  Ann   Lee ")
        assert client("GET", rater)[1] == {
            "name": "Ann Lee", "protocol": study.protocol, "total": study.n_trials, "rated": 0
        }  # fmt: skip
        texts, kept = [], []
        for n in range(study.n_trials):
            status, headers, content = client.raw("GET", f"{rater}/trials/{n}")
            trial = json.loads(content)
            assert (status, trial["width"], trial["height"], trial["answer"]) == (200, 32, 24, None)
            kept.append(trial)
            texts += [str(headers), content.decode()]
            for address in trial["pictures"]:
                status, headers, content = client.raw("GET", address)
                assert (status, headers["content-type"]) == (200, "image/png")
                assert not {"etag", "last-modified", "content-disposition"} & set(headers)
                assert {content[i + 4 : i + 8] for i in chunk_places(content)} == {b"IHDR", b"IDAT", b"IEND"}
                texts.append(str(headers))
            if n == 3:
                break
            assert client.rate(rater, n, 1 + n % answers) == (200, {"rated": n + 1})
        assert client.rate(rater, 0, 2) == (200, {"rated": 3})  # taken back and answered otherwise
        assert client.rate(rater, 0, 2) == (200, {"rated": 3})  # sent again
    with serving(folder) as client:
        assert client("GET", rater)[1]["rated"] == 3
        assert client("GET", f"{rater}/trials/3")[1] == kept[3]
        assert client("GET", f"{rater}/trials/0")[1]["answer"] == 2
        assert client.rate(rater, 3, 1)[0] == 200
        texts.append(client.raw("GET", "/")[2].decode())
        stored = [answer.answer for answer in client.ratings.answers() if answer.rater == "Ann Lee"]
    assert stored == [2, 2, 3, 1] if study.protocol == "acr" else [2, 2, 1, 1]
    known = [*study.conditions[:3], *study.sources.values(), "0.png", *study.scenes[0].pictures.values(), "reference"]
    assert not [word for word in known for text in texts if word in text]


def chunk_places(png: bytes) -> Iterator[int]:
    place = 8
    while place < len(png):
        yield place
        place += 12 + int.from_bytes(png[place : place + 4], "big")


def test_two_raters_of_one_name(client: Client) -> None:
    client.begin("Zoë Mü")
    status, said = client("POST", "/raters", {"name": "ZOË  MU\u0308"})
    assert status == 409
    assert said["error"].startswith("Somebody rates under this name. If that is you, go on in the browser")


def test_names_that_are_none(client: Client) -> None:
    for name in ("", "  ", "=1+1", "<b>", "x" * 61, "a\x07b"):
        status, said = client("POST", "/raters", {"name": name})
        assert status == 422
        assert said["error"] == "a name begins with a letter or a digit and has at most 60 characters"


def test_answers_that_are_none(client: Client) -> None:
    rater = client.begin("Bad answers")
    largest = 5 if client.ratings.study.protocol == "acr" else 2
    for body, words in (
        ({"answer": 0}, "0 is no answer here; the answers are 1, 2"),
        ({"answer": largest + 1}, f"{largest + 1} is no answer here"),
        ({"answer": "3"}, "answer: Input should be a valid integer"),
        ({"answer": 1.5}, "answer: Input should be a valid integer"),
        ({"answer": 1, "seconds": -1}, "seconds: "),
        ({"answer": 1, "zoom": "huge"}, "zoom: "),
        ({"answer": 1, "more": 1}, "more: "),
    ):
        status, said = client("PUT", f"{rater}/trials/0", {"seconds": 1, "zoom": "fit"} | body)
        assert (status, said["error"][: len(words)]) == (422, words)
    assert client.rate(rater, 1, 1) == (422, {"error": "picture 2 is not asked yet; load the page again"})
    assert client("GET", rater)[1]["rated"] == 0


def test_requests_that_are_none(client: Client) -> None:
    rater = client.begin("Bad requests")
    for method, path, body, status in (
        ("GET", "/raters/nobody", None, 404),
        ("GET", f"{rater}/trials/2", None, 404),
        ("GET", f"{rater}/trials/{9**99}", None, 404),
        ("GET", f"{rater}/trials/0/2", None, 404),
        ("GET", f"{rater}/trials/-1/0", None, 404),
        ("GET", "/../study.json", None, 404),
        ("GET", "/pictures/000000.png", None, 404),
        ("GET", f"{rater}/trials/0/..%2f..%2fstudy.json", None, 404),
        ("GET", f"{rater}/trials/0/%2e%2e/study.json", None, 404),
        ("DELETE", f"{rater}/trials/0", None, 405),
        ("POST", "/raters", b"{", 422),
        ("POST", "/raters", b'{"name": "' + b"x" * 5000 + b'"}', 413),
    ):
        assert client.raw(method, path, body)[0] == status, path
    assert client.raw("POST", "/raters", b'{"name": "a"}', **{"Content-Type": "text/plain"})[0] == 415


def test_the_page_runs_nothing_but_its_own(client: Client) -> None:
    for path in ("/", "/rate/anything"):
        status, headers, page = client.raw("GET", path)
        policy = headers["content-security-policy"]
        assert status == 200
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert b"http" not in page
        assert headers["referrer-policy"] == "no-referrer"


def test_a_locked_database_takes_the_answer_later(client: Client, caplog) -> None:
    rater = client.begin("Patient")
    client("GET", f"{rater}/trials/0")
    client.ratings._database.execute("PRAGMA busy_timeout = 50")
    with contextlib.closing(sqlite3.connect(client.ratings.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, said = client.rate(rater, 0, 1)
        assert (status, said) == (503, {"error": "The study's computer cannot read or store anything just now."})
        assert "the database is locked by another program; close it there" in caplog.text
        other.execute("ROLLBACK")
    assert client.rate(rater, 0, 1) == (200, {"rated": 1})


def test_a_full_disk_takes_the_answer_later(client: Client, caplog) -> None:
    rater = client.begin("Full")
    client("GET", f"{rater}/trials/0")
    database = client.ratings._database
    assert client.rate(rater, 0, 2)[0] == 200
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages}")
    statuses = [client("POST", "/raters", {"name": f"{n} {'long' * 12}"})[0] for n in range(40)]
    assert statuses[-1] == 503
    assert "the disk is full; free some space" in caplog.text
    database.execute("PRAGMA max_page_count = 1000000")
    client.begin("After")
    assert client("GET", f"{rater}/trials/0")[1]["answer"] == 2


def test_a_deleted_database_is_written_anew(client: Client, folder: Path, caplog) -> None:
    rater = client.begin("Deleted")
    assert client("GET", f"{rater}/trials/0")[0] == 200
    assert client.rate(rater, 0, 1)[0] == 200
    before = len(client.ratings.answers())
    for path in folder.glob(f"{RATINGS}*"):
        path.unlink()
    assert client("GET", f"{rater}/trials/1")[0] == 200
    assert client.rate(rater, 1, 2) == (200, {"rated": 2})
    assert "was deleted, and is written anew with all its ratings" in caplog.text
    with contextlib.closing(Ratings(client.ratings.study, folder)) as fresh:
        assert len(fresh.answers()) == before + 1


def answers_in(database: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(database)) as opened:
        return [answer for (answer,) in opened.execute("SELECT answer FROM ratings ORDER BY rater, n")]


def rate_once(folder: Path, meanwhile: Callable[[Client], object]) -> None:
    """Serves a study until one answer, 3, is stored and something has happened."""
    with serving(folder) as client:
        rater = client.begin("Only")
        client("GET", f"{rater}/trials/0")
        assert client.rate(rater, 0, 3) == (200, {"rated": 1})
        meanwhile(client)


def test_a_database_deleted_at_the_end_is_written_anew(tmp_path: Path) -> None:
    study_of(tmp_path, n_scenes=2)
    folder = tmp_path / "study"
    rate_once(folder, lambda _: [path.unlink() for path in folder.glob(f"{RATINGS}*")])
    assert answers_in(folder / RATINGS) == [3]


def test_answers_outlive_the_folder(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_scenes=2)
    folder = tmp_path / "study"
    with pytest.raises(OutputError, match=r"study: was deleted or moved; all answers and study\.json are there again"):
        rate_once(folder, lambda _: shutil.rmtree(folder))
    assert answers_in(folder / RATINGS) == [3]
    assert read_study(folder) == study


@pytest.mark.parametrize("other", ["database", "file"])
def test_answers_are_kept_aside_where_something_else_has_their_name(
    tmp_path: Path, other: str, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    study_of(tmp_path, n_scenes=2)
    folder = tmp_path / "study"
    (tmp_path / "copy").write_bytes((folder / RATINGS).read_bytes())

    def replace(client: Client) -> None:
        if other == "file":
            shutil.rmtree(folder)
            folder.touch()
            return
        (tmp_path / "copy").replace(folder / RATINGS)
        assert client("POST", "/raters", {"name": "Late"})[0] == 503
        assert "is another file than when this began; stop, and begin again" in caplog.text

    with pytest.raises(OutputError, match=r"; all answers are in .*/ratings-.*\.db, keep that") as caught:
        rate_once(folder, replace)
    (kept,) = (folder if other == "database" else tmp_path).glob("ratings-*.db")
    assert str(kept) in str(caught.value)
    assert answers_in(kept) == [3]


def test_a_database_that_is_none_is_not_served(tmp_path: Path) -> None:
    study = study_of(tmp_path, n_scenes=2)
    folder = tmp_path / "study"
    content = (folder / RATINGS).read_bytes()
    page = int.from_bytes(content[16:18], "big")
    (folder / RATINGS).write_bytes(content[: 4 * page] + b"\xa5" * page + content[5 * page :])
    with pytest.raises(OutputError, match="the database is damaged; put it back"), served(folder, "127.0.0.1", 0):
        pass
    (folder / RATINGS).write_bytes(b"")
    with pytest.raises(DatasetError, match="holds no ratings; put it back from a copy, or make another study"):
        Ratings(study, folder)
    failed = sqlite3.OperationalError("disk I/O error")
    failed.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    words = "db: the disk fails, or limits how large files are; copy the folder"
    with pytest.raises(OutputError, match=words), _named(folder / RATINGS):
        raise failed


def test_the_database_of_another_study_is_refused(tmp_path: Path) -> None:
    large, small = (study_of(tmp_path / name, n_scenes=n) for name, n in (("large", 4), ("small", 2)))
    ratings = Ratings(large, tmp_path / "large" / "study")
    ratings.add_rater("Ann")
    ratings.close()
    shutil.copy(ratings.path, tmp_path / "small" / "study" / RATINGS)
    with pytest.raises(DatasetError, match=r"ratings\.db: is of another study than study\.json beside it"):
        Ratings(small, tmp_path / "small" / "study")


def test_what_cannot_be_served(folder: Path, tmp_path: Path) -> None:
    with serving(folder) as client:
        with pytest.raises(DatasetError, match="serves it already"), served(folder, "127.0.0.1", 0):
            pass
        with pytest.raises(DatasetError, match=r"holds no study\.json"), served(tmp_path, "127.0.0.1", 0):
            pass
        with pytest.raises(ArgumentError, match="cannot listen there"):
            listening("127.0.0.1", client.port)
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(DatasetError, match="is damaged"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_bytes((folder / "study.json").read_bytes())
    with pytest.raises(DatasetError, match=r"ratings\.db: is not there"):
        Ratings(read_study(tmp_path), tmp_path)
