"""Who was shown what and answered what: one SQLite file, which holds an answer before anybody is told that it does.

The server keeps it open: should somebody delete the file meanwhile, it is written anew from what is open, and nothing
is lost.  Others may read it at any time (write-ahead log).
"""

import contextlib
import datetime
import logging
import os
import secrets
import sqlite3
import tempfile
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resharp.errors import ArgumentError, DatasetError, OutputError
from resharp.files import reason_of

from .definition import PROTOCOLS, RATINGS, STUDY, Study, write_study
from .opinions import choices_of
from .plan import Answer, Trial, grading_plan, next_pair

LONGEST_NAME = 60
_WAIT = 3.0  # seconds for another program to let the database go
_LOG = logging.getLogger("resharp")

_SCHEMA = """
CREATE TABLE raters (number INTEGER PRIMARY KEY, name TEXT NOT NULL, same TEXT NOT NULL UNIQUE,
    token TEXT NOT NULL UNIQUE, began TEXT NOT NULL);
CREATE TABLE trials (rater INTEGER NOT NULL REFERENCES raters, n INTEGER NOT NULL, scene TEXT NOT NULL,
    first TEXT NOT NULL, second TEXT, repeats INTEGER, PRIMARY KEY (rater, n));
CREATE TABLE ratings (rater INTEGER NOT NULL, n INTEGER NOT NULL,
    answer INTEGER NOT NULL CHECK (answer BETWEEN 1 AND 5),
    seconds REAL NOT NULL, zoom TEXT NOT NULL, stored TEXT NOT NULL, PRIMARY KEY (rater, n),
    FOREIGN KEY (rater, n) REFERENCES trials (rater, n));
"""
_TABLES = {"raters", "trials", "ratings"}
_DAMAGED = "the database is damaged; put it back from a copy"
_REASONS = {
    sqlite3.SQLITE_BUSY: "the database is locked by another program; close it there",
    sqlite3.SQLITE_LOCKED: "the database is locked by another program; close it there",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "the database may not be written; give the permission back",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_IOERR: "the disk fails, or limits how large files are; copy the folder to another, and go on there",
    sqlite3.SQLITE_NOTADB: "the file is no database; put it back from a copy",
    sqlite3.SQLITE_CANTOPEN: "the database cannot be opened; is it there, and readable?",
}


def create_ratings(folder: Path) -> None:
    """Raises OutputError."""
    with _named(folder / RATINGS), contextlib.closing(sqlite3.connect(folder / RATINGS)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)


class Ratings:
    """The ratings of a study, safe to share between threads; close it at the end."""

    def __init__(self, study: Study, folder: Path) -> None:
        """Raises DatasetError where there are no ratings, OutputError for a file that is damaged or closed to us."""
        self.study, self.path = study, folder / RATINGS
        self._lock = threading.RLock()
        if not self.path.is_file():
            raise DatasetError(f"{self.path}: is not there; put it back from a copy, or make another study")
        self._open()

    def _open(self) -> None:
        with contextlib.ExitStack() as refused, _named(self.path):
            self._database = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=rw", uri=True, timeout=_WAIT, isolation_level=None,
                check_same_thread=False,
            )  # fmt: skip
            refused.callback(self._database.close)
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.execute("PRAGMA foreign_keys = ON")
            tables = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            [health] = self._database.execute("PRAGMA quick_check(1)").fetchone()  # of all pages, in milliseconds
            if health != "ok":
                raise OutputError(f"{self.path}: {_DAMAGED}")
            if not tables >= _TABLES:
                raise DatasetError(f"{self.path}: holds no ratings; put it back from a copy, or make another study")
            self._check_of_this_study()
            self._file = self.path.stat().st_ino
            refused.pop_all()

    def _check_of_this_study(self) -> None:
        known, conditions = {scene.name for scene in self.study.scenes}, {*self.study.conditions, None}
        shown = self._database.execute("SELECT DISTINCT scene, first, second FROM trials")
        if any(scene not in known or not {first, second} <= conditions for scene, first, second in shown):
            raise DatasetError(f"{self.path}: is of another study than {STUDY} beside it; put its own back from a copy")

    def close(self) -> None:
        """Let the file go; what is stored is in it, unless somebody deleted it after `make_sure`."""
        with self._lock:
            self._database.close()

    def make_sure(self) -> None:
        """Sees that the file holds what is stored, and writes it anew where somebody deleted it.

        Raises OutputError where the folder is gone, too, or its file cannot be written or is another one now; all
        answers are then in the file that the error names.
        """
        folder = self.path.parent
        with self._lock:
            was_there = folder.is_dir()
            try:
                with _named(self.path):
                    folder.mkdir(parents=True, exist_ok=True)
                    self._check_there()
                if not was_there:
                    write_study(self.study, folder)
            except OutputError as error:
                raise OutputError(f"{error}; all answers are in {self._copy()}, keep that") from error
        if not was_there:
            raise OutputError(
                f"{folder}: was deleted or moved; all answers and {STUDY} are there again, for `resharp study report`; "
                "to go on, put its pictures back"
            )

    def _copy(self) -> Path:
        """A new file with all that is stored, beside the study's or among temporary ones.  Raises OutputError."""
        for folder in (self.path.parent, Path(tempfile.gettempdir())):
            with contextlib.suppress(OSError, sqlite3.Error):
                handle, name = tempfile.mkstemp(prefix="ratings-", suffix=".db", dir=folder)
                os.close(handle)
                self._back_up(Path(name))
                return Path(name)
        raise OutputError(f"{self.path}: the answers can be written nowhere; free some space")

    def _back_up(self, path: Path) -> None:
        """Writes all that is stored into a file of that name, whole or not at all."""
        try:
            with contextlib.closing(sqlite3.connect(path)) as copy:
                self._database.backup(copy)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    # --- raters and their trials --------------------------------------------------------------------------------------

    def add_rater(self, name: str) -> str | None:
        """The token of a new rater, which opens this rater's session; None where somebody has that name already.

        Raises ArgumentError for what is no name, OutputError.
        """
        name = _checked_name(name)
        token = secrets.token_urlsafe(16)
        with self._writing() as database:
            if database.execute("SELECT 1 FROM raters WHERE same = ?", (_same(name),)).fetchone():
                return None
            number = database.execute("SELECT count(*) FROM raters").fetchone()[0]
            row = number, name, _same(name), token, _now()
            database.execute("INSERT INTO raters VALUES (?, ?, ?, ?, ?)", row)
            if self.study.protocol == "acr":
                for trial in grading_plan(self.study, number):
                    _insert(database, number, trial)
        return token

    def rater(self, token: str) -> tuple[int, str] | None:
        """(number, name) of the rater with this token."""
        row = self._read("SELECT number, name FROM raters WHERE token = ?", token)
        return row[0] if row else None

    def n_rated(self, number: int) -> int:
        """How many trials this rater has answered, which are always the first ones."""
        return int(self._read("SELECT count(*) FROM ratings WHERE rater = ?", number)[0][0])

    def trial(self, number: int, n: int) -> Trial | None:
        """The n-th trial of a rater, handed out if it is this one's turn or the next one's; else None."""
        if not 0 <= n < min(self.study.n_trials, self.n_rated(number) + 2):
            return None
        if known := self._trials(number, n):
            return known[0]
        with self._writing() as database:
            for due in range(len(self._trials(number)), n + 1):
                _insert(database, number, self._next_pair(number, due))
        return self._trials(number, n)[0]

    def _next_pair(self, number: int, n: int) -> Trial:
        own = self._trials(number)
        assert len(own) == n, (len(own), n)
        chosen = {answer.trial.n: answer.chosen for answer in self.answers(number)}
        counted = self._read("SELECT scene, first, second, count(*) FROM trials GROUP BY scene, first, second")
        shown: Counter[tuple[str, frozenset[str]]] = Counter()
        for scene, first, second, count in counted:
            shown[scene, frozenset((first, second))] += count
        return next_pair(
            self.study, number, own, chosen, choices_of(self.study, self.answers()).sum(axis=(0, 1)), shown
        )

    def _trials(self, number: int, n: int | None = None) -> list[Trial]:
        where = "" if n is None else " AND n = ?"
        rows = self._read(
            f"SELECT n, scene, first, second, repeats FROM trials WHERE rater = ?{where} ORDER BY n",
            *((number,) if n is None else (number, n)),
        )
        return [_trial(*row) for row in rows]

    # --- answers ------------------------------------------------------------------------------------------------------

    def store(self, number: int, n: int, answer: int, *, seconds: float, zoom: str) -> int:
        """Store the answer to a trial, in place of an earlier one; returns how many trials are answered now.

        Raises ArgumentError for an answer out of range or out of turn, OutputError where it could not be stored.
        """
        if answer not in PROTOCOLS[self.study.protocol]:
            known = ", ".join(map(str, PROTOCOLS[self.study.protocol]))
            raise ArgumentError(f"{answer} is no answer here; the answers are {known}")
        with self._writing() as database:
            if n > self.n_rated(number) or not self._trials(number, n):
                raise ArgumentError(f"picture {n + 1} is not asked yet; load the page again")
            row = number, n, answer, seconds, zoom, _now()
            database.execute("INSERT OR REPLACE INTO ratings VALUES (?, ?, ?, ?, ?, ?)", row)
        return self.n_rated(number)

    def answer_to(self, number: int, n: int) -> int | None:
        """What a rater said to a trial, None if nothing yet."""
        row = self._read("SELECT answer FROM ratings WHERE rater = ? AND n = ?", number, n)
        return int(row[0][0]) if row else None

    def answers(self, number: int | None = None) -> list[Answer]:
        """All answers, or those of one rater, in the order of raters and trials."""
        where = "" if number is None else "WHERE rater = ?"
        rows = self._read(
            "SELECT name, n, scene, first, second, repeats, answer, seconds, zoom, stored FROM ratings"
            f" JOIN trials USING (rater, n) JOIN raters ON rater = number {where} ORDER BY rater, n",
            *(() if number is None else (number,)),
        )
        return [Answer(name, _trial(*trial), *said) for name, *rest in rows for trial, said in [(rest[:5], rest[5:])]]

    # --- the file -----------------------------------------------------------------------------------------------------

    def _read(self, query: str, *values: object) -> list[Any]:
        with self._lock, _named(self.path):
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on the disk when the block has ended, or not begun."""
        with self._lock, _named(self.path):
            self._check_there()
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk has ended it already
                    self._database.execute("ROLLBACK")
                raise

    def _check_there(self) -> None:
        """Writes the file anew where somebody deleted it.  Raises OutputError where another file has its name now."""
        try:
            if self.path.stat().st_ino == self._file:
                return
        except FileNotFoundError:
            self._write_anew()
            return
        raise OutputError(f"{self.path}: is another file than when this began; stop, and begin again")

    def _write_anew(self) -> None:
        part = self.path.with_name(f".{RATINGS}.part")
        part.unlink(missing_ok=True)
        self._back_up(part)
        self._database.close()
        for ending in ("-wal", "-shm"):  # they belong to the deleted file
            Path(f"{self.path}{ending}").unlink(missing_ok=True)
        part.replace(self.path)
        self._open()
        _LOG.warning("%s: was deleted, and is written anew with all its ratings", self.path)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what SQLite or the disk refuses into an OutputError that says how to go on."""
    try:
        yield
    except sqlite3.Error as error:
        reason = _REASONS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, str(error))
        raise OutputError(f"{path}: {reason}") from error
    except OSError as error:
        raise OutputError(f"{path}: {reason_of(error)}") from error


def _insert(database: sqlite3.Connection, number: int, trial: Trial) -> None:
    first, second = (*trial.shown, None)[:2]
    row = number, trial.n, trial.scene, first, second, trial.repeats
    database.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", row)


def _trial(n: int, scene: str, first: str, second: str | None, repeats: int | None) -> Trial:
    return Trial(n, scene, (first,) if second is None else (first, second), repeats)


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not name[:1].isalnum() or len(name) > LONGEST_NAME or not name.isprintable():  # no formula of a table, either
        raise ArgumentError(f"a name begins with a letter or a digit and has at most {LONGEST_NAME} characters")
    return name


def _same(name: str) -> str:
    """Names are one where only case, spaces or the spelling of accents differ."""
    return unicodedata.normalize("NFKC", name).casefold()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
