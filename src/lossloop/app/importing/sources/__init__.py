"""Where history comes from: files and queries, one contract."""

from lossloop.app.importing.sources.base import Malformed, Piece, Source
from lossloop.app.importing.sources.csv import CsvSource
from lossloop.app.importing.sources.files import matching
from lossloop.app.importing.sources.opening import ENDINGS, open_file
from lossloop.app.importing.sources.parquet import ParquetSource
from lossloop.app.importing.sources.sql import Address, SqlSource, address

__all__ = [
    "ENDINGS",
    "Address",
    "CsvSource",
    "Malformed",
    "ParquetSource",
    "Piece",
    "Source",
    "SqlSource",
    "address",
    "matching",
    "open_file",
]
