"""History in: predictions and outcomes from files, queries and watched folders."""

from lossloop.app.importing.checking import Bad
from lossloop.app.importing.forgetting import forget_rejects
from lossloop.app.importing.importer import Importer, Job, Report, Stopped
from lossloop.app.importing.mapping import Naming, combined, read_file, read_flags
from lossloop.app.importing.progress import Progress, all_progress, recent
from lossloop.app.importing.settling import settle
from lossloop.app.importing.sources import Source, SqlSource, address, matching, open_file
from lossloop.app.importing.watching import LabelFolders

__all__ = [
    "Bad",
    "Importer",
    "Job",
    "LabelFolders",
    "Naming",
    "Progress",
    "Report",
    "Source",
    "SqlSource",
    "Stopped",
    "address",
    "all_progress",
    "combined",
    "forget_rejects",
    "matching",
    "open_file",
    "read_file",
    "read_flags",
    "recent",
    "settle",
]
