"""What does the server write down? Words on a terminal, or JSON lines; and always JSON lines in ``HOME/logs``.

A line says when, how grave, where from, and of a request: run, user, path, status, milliseconds, callback. What a
request carries (queries, bodies, tokens, file names, genes) is never written, nor is the text of an unforeseen error,
which may quote it: its kind and the lines of code that it came through are.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import logging
import logging.handlers
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import filelock
import flask

from pages._shared import access
from scetm_core import keys

VARIABLE, AS_JSON = "SCETM_LOG", "json"
REQUESTS = "scetm.request"
FIELDS = ("mark", "run", "user", "method", "path", "status", "ms", "callback")
"""What a line may say of a request, besides time, level, logger and message; left out where there is none."""
MAX_BYTES, KEPT = 5_000_000, 4
"""Size of a log file, and how many older ones are kept."""
MAX_PATH = 200


class About(logging.Filter):
    """Adds to a line which request it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known; every line may pass."""
        if flask.has_request_context():
            known = {
                "path": flask.request.path[:MAX_PATH],
                "user": access.current_user(),
                **flask.g.get("about", {}),
            }
            for name, value in known.items():
                if value and not hasattr(record, name):
                    setattr(record, name, value)
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": _time_of(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if (error := _error_of(record)) is not None:
            line["error"], line["trace"] = type(error).__qualname__, trace_of(error)
        return json.dumps(line, ensure_ascii=False)


class Words(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and after an error the lines of code it came through."""
        grave = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        about = ", ".join(f"{name} {_one_line(str(value))}" for name, value in _fields(record).items())
        words = f"{_time_of(record).astimezone():%H:%M:%S}  {grave}{_one_line(record.getMessage())}"
        error = _error_of(record)
        return words + (f"  [{about}]" if about else "") + (f"\n{trace_of(error)}" if error is not None else "")


def _time_of(record: logging.LogRecord) -> dt.datetime:
    return dt.datetime.fromtimestamp(record.created, dt.UTC)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: record.__dict__[name] for name in FIELDS if record.__dict__.get(name) is not None}


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _one_line(text: str) -> str:
    """A text without line breaks and other control characters, so that none can pass for a line of its own."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def trace_of(error: BaseException) -> str:
    """The lines of code that an error came through, and its kind; those it came from first. Its text is left out."""
    earlier = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = f"{trace_of(earlier)}\n\n" if earlier is not None else ""
    lines = "".join(traceback.format_tb(error.__traceback__))
    return f"{before}Traceback (most recent call last):\n{lines}{type(error).__qualname__}"


class LogFile(logging.handlers.RotatingFileHandler):
    """A file that is set aside when it is full. A disk without room is told once, not for every line."""

    _has_told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that the file cannot be written."""
        if not self._has_told:
            self._has_told = True
            print(f"warning: {self.baseFilename} cannot be written: {sys.exc_info()[1]}", file=sys.stderr)


def set_up(home: Path | None, *, kind: str | None = None) -> None:
    """Let this process write its log; called again, it starts over.

    Parameters
    ----------
    home
        In whose folder ``logs`` it is written too; None: only to the terminal.
    kind
        Of the lines on the terminal: "json", or "" for words; by default as ``SCETM_LOG`` says.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    """
    as_json = (os.environ.get(VARIABLE, "") if kind is None else kind) == AS_JSON
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setFormatter(JsonLines() if as_json else Words())
    if not as_json:  # a terminal stays quiet while all is well
        terminal.addFilter(lambda record: record.name != REQUESTS or record.levelno >= logging.WARNING)
    handlers: list[logging.Handler] = [terminal]
    if home is not None:
        file = LogFile(_own_file(home / keys.LOGS_FOLDER), maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8")
        file.setFormatter(JsonLines())
        handlers.append(file)
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if getattr(handler, "is_ours", False)]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.is_ours = True  # type: ignore[attr-defined]
        handler.addFilter(About())
        root.addHandler(handler)
    logging.getLogger("scetm").setLevel(logging.INFO)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a page asks for ten things at once, and has a queue


_held: dict[Path, filelock.BaseFileLock] = {}


def _own_file(folder: Path) -> Path:
    """A file that no other process writes to: two that set one file aside would lose lines."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in _names(folder):
        if path in _held:
            return path
        lock = filelock.FileLock(path.with_name(f".{path.name}.lock"), blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            continue
        _held[path] = lock
        return path
    raise AssertionError


def _names(folder: Path) -> Iterator[Path]:
    """server.jsonl, server-2.jsonl, ..."""
    yield folder / "server.jsonl"
    yield from (folder / f"server-{number}.jsonl" for number in itertools.count(2))
