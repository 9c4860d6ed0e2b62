"""Watched folders: label files that are put there by night are taken as they come, each once.

A file is taken once it is whole: its size and its time stay the same from one look to the next. It is neither
moved nor deleted. What is in it is what counts: the same file again, or renamed, changes nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path

from lossloop.app.home import Home
from lossloop.app.importing.importer import Importer, Job, Report, Stopped
from lossloop.app.importing.mapping import Naming, read_file
from lossloop.app.importing.progress import all_progress
from lossloop.app.importing.sources import open_file
from lossloop.app.importing.sources.opening import FileSource, ending
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import InputError, InUse, LossloopError, PolicyError, UnknownName
from lossloop.ledger.base import LogWriter
from lossloop.ledger.frames import Kind

LOOK_EVERY = 2.0
"""Seconds between two looks at the folders."""
MAPPING = "mapping.yaml"
"""A file in the folder that says which of its files' columns is what."""

Stamp = tuple[int, ...]


class LabelFolders:
    """Looks into folders of label files, one for a model.

    Args:
        home: The state directory; `label_folders` in its settings names the folders.
        clock: Tells the receipt time.
    """

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self._home = home
        self._clock = clock or SystemClock()
        self._folders: Mapping[str, Path] = {
            model: home.path / path for model, path in home.settings().label_folders.items()
        }
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: dict[Path, Stamp] = {}
        self._done: set[tuple[str, Path, Stamp]] = set()
        self._mappings: dict[str, Stamp] = {}
        self._told: dict[str, str] = {}
        self._writer: LogWriter | None = None

    def start(self) -> None:
        """Look from time to time, in a thread, where there is anything to look into."""
        if self._folders:
            self._done = {
                (progress.model, Path(progress.source), progress.stamp)
                for _, progress in all_progress(self._home)
                if progress.finished
            }
            self._thread = threading.Thread(target=self._run, name="label folders", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop behind the piece that is being taken."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._writer is not None:
            self._writer.close()

    def look(self) -> list[Report]:
        """Take the files that are whole and were not taken; return what became of each."""
        self._look_at_mappings()
        reports: list[Report] = []
        seen: dict[Path, Stamp] = {}
        for model, path, stamp in self._files():
            seen[path] = stamp
            if (model, path, stamp) in self._done or self._seen.get(path) != stamp or self._stop.is_set():
                continue
            report = self._take(model, path)
            if report is not None:
                self._done.add((model, path, stamp))
                reports.append(report)
        self._seen = seen
        return reports

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for report in self.look():
                    if words := words_on(report):
                        self._say(report.source, words)
            except Exception as error:  # noqa: BLE001 - one folder that fails must not end the looking
                self._say("label_folders", f"{type(error).__name__}: {error}")
            self._stop.wait(LOOK_EVERY)

    def _files(self) -> Iterator[tuple[str, Path, Stamp]]:
        """Whatever could be a label file: its model, its path, and what changes when it does."""
        for model, folder in self._folders.items():
            try:
                paths = sorted(folder.iterdir())
            except OSError as error:
                self._say(str(folder), f"cannot look into it ({error.strerror}); is label_folders right?")
                continue
            for path in paths:
                if path.name.startswith(".") or ending(path) is None:
                    continue
                with suppress(OSError):  # it is gone again
                    if path.is_file():
                        yield model, path, _stamp(path)

    def _look_at_mappings(self) -> None:
        """Where a mapping is another one now, its model's files are looked at again."""
        for model, folder in self._folders.items():
            stamp: Stamp = ()
            with suppress(OSError):
                stamp = _stamp(folder / MAPPING)
            if self._mappings.setdefault(model, stamp) != stamp:
                self._mappings[model] = stamp
                self._done = {each for each in self._done if each[0] != model}

    def _take(self, model: str, path: Path) -> Report | None:
        """Take a file; None where it is to be tried again."""
        try:
            with closing(open_file(path)) as source:
                return self._import(model, source)
        except Stopped:
            return None
        except LossloopError as error:
            self._say(str(path), str(error))
            return Report(source=str(path)) if _stays(error) else None
        except Exception as error:  # noqa: BLE001 - one file that fails must not keep the others out
            self._say(str(path), f"{type(error).__name__}: {error}")
            return None if isinstance(error, OSError) else Report(source=str(path))

    def _import(self, model: str, source: FileSource) -> Report:
        if self._writer is None:
            self._writer = self._home.log.writer()
        job = Job(model=model, kind=Kind.OUTCOME, naming=self._naming(model), history=False)
        importer = Importer(self._home, job, self._writer, clock=self._clock, stop=self._stop.is_set)
        try:
            return importer.run(source)
        except InUse:
            raise
        except LossloopError as error:
            importer.failed(source, str(error))
            raise

    def _naming(self, model: str) -> Naming:
        path = self._folders[model] / MAPPING
        return read_file(path.read_text(), source=str(path)) if path.exists() else Naming()

    def _say(self, about: str, words: str) -> None:
        """Tell whoever reads standard error, once until it is something else."""
        if self._told.get(about) != words:
            self._told[about] = words
            print(f"{about}: {words}", file=sys.stderr, flush=True)


def words_on(report: Report) -> str:
    """What became of a file; nothing of one that could not be read, of which the reason was told."""
    if report.read:
        return f"{report.taken:,} rows taken, {report.rejected:,} rejected"
    return "it was taken before" if report.before else ""


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _stays(error: LossloopError) -> bool:
    """Whether what is wrong with a file stays wrong until the file changes; what is wrong here may pass."""
    unknown_model = isinstance(error, UnknownName) and error.field == "model"
    return isinstance(error, InputError | PolicyError) and not unknown_model
