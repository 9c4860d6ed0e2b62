from __future__ import annotations

from urllib.parse import quote

import psycopg.conninfo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.ledger.postgres.database import Database

words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=12)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@host:5433/db", "postgresql://u@host:5433/db"),
        ("postgres://u:secret@host/db?sslmode=require", "postgresql://u@host/db"),
        ("postgresql://host/db?user=u&password=secret", "postgresql://host/db"),
        ("postgresql://u@/db?host=/run/pg", "postgresql://u@/db"),
        ("postgresql://u:secret@one:1,two:2/db", "postgresql://u@one:1,two:2/db"),
        ("postgresql://[::1]:5432/db", "postgresql://[::1]:5432/db"),
        ("postgresql://", "postgresql://"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    database = Database(url=url)
    assert str(database) == shown
    assert database.place == f"{shown}, schema lossloop"
    assert "secret" not in repr(database)
    psycopg.conninfo.conninfo_to_dict(url)  # libpq reads it too


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se@cret@host/db",
        "postgresql://u:se/cret@host/db",
        "postgresql://u:se?cret@host/db",
        "postgresql://u:se#cret@host/db",
        "postgresql://u:se[cret@host:port/db",
        "postgresql://u:secret",
        "postgresql://host:secret/db",
        "mysql://u:secret@host/db",
        "host=h password=secret",
        "",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InputError, match="write postgresql://user@host:port/database, with %40") as caught:
        Database(url=url)
    assert "cret" not in str(caught.value)
    assert caught.value.__context__ is None, "what it came from might show the address"


@given(words, words)
def test_no_password_is_shown_however_it_is_written(user: str, password: str) -> None:
    name = quote(user, safe="")
    for url in (
        f"postgresql://{name}:{quote(password, safe='')}@host/db",
        f"postgresql://{name}@host/db?password={quote(password, safe='')}&sslpassword={quote(password)}",
    ):
        database = Database(url=url)
        assert database.without_secrets(f"FATAL: <{password}>") == "FATAL: <***>"
        assert str(database) == f"postgresql://{name}@host/db"


@given(words)
def test_a_password_typed_as_it_is_is_kept_or_refused_but_never_cut(password: str) -> None:
    url = f"postgresql://u:{password}@host/db"
    if set(password) & set("@/?#"):
        with pytest.raises(InputError, match=r"^the store's address cannot be read; write"):
            Database(url=url)
    else:
        assert str(Database(url=url)) == "postgresql://u@host/db"


@pytest.mark.parametrize("schema", ["", "1a", "a-b", 'a"b', "A", "a b", "x" * 64])
def test_a_schema_has_a_plain_name(schema: str) -> None:
    with pytest.raises(InputError, match="is no name of a schema; use small letters"):
        Database(url="postgresql://", schema=schema)
