"""One token that may do everything: made at `init`, kept as a digest, read by its owner alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.access import TokenBook, bearer
from lossloop.access.tokens import TokenCheck
from lossloop.core.errors import AccessError, StateError


@pytest.fixture
def book(tmp_path: Path) -> TokenBook:
    return TokenBook(tmp_path)


def test_the_token_that_was_made_opens(book: TokenBook) -> None:
    token = book.make()
    book.checker().require(bearer(token))
    assert book.read() == token
    assert len(token) > 40


def test_every_token_is_a_new_one_and_ends_the_one_before(book: TokenBook) -> None:
    old, new = book.make(), book.make()
    assert old != new
    book.checker().require(bearer(new))
    with pytest.raises(AccessError):
        book.checker().require(bearer(old))


def test_only_the_owner_can_read_it_and_the_server_does_not_need_to(book: TokenBook, tmp_path: Path) -> None:
    token = book.make()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("token", "token.sha256")] == [0o600, 0o600]
    assert token not in (tmp_path / "token.sha256").read_text()
    (tmp_path / "token").unlink()
    book.checker().require(bearer(token))


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "Bearer   {} "])
def test_the_scheme_may_be_written_as_http_allows(book: TokenBook, form: str) -> None:
    token = book.make()
    book.checker().require(form.format(token))


@pytest.mark.parametrize("header", [None, "", "Basic dXNlcjpwYXNz", "ll_x", "bearer"])
def test_who_sends_no_token_is_told_how(book: TokenBook, header: str | None) -> None:
    book.make()
    with pytest.raises(
        AccessError, match=r"send the token as 'Authorization: Bearer ...'; it lies in the state"
    ):
        book.checker().require(header)


@given(st.text())
def test_nothing_else_opens(token: str) -> None:
    check = TokenCheck("0" * 64)
    with pytest.raises(AccessError):
        check.require(bearer(token))


def test_a_wrong_token_is_not_repeated_in_the_message(book: TokenBook) -> None:
    book.make()
    with pytest.raises(AccessError, match="this token is not known here") as caught:
        book.checker().require("Bearer ll_secret")
    assert "ll_secret" not in str(caught.value)


def test_a_directory_without_a_token_says_what_to_run(book: TokenBook) -> None:
    with pytest.raises(
        StateError, match=r"cannot read the token .*: No such file or directory; run lossloop init"
    ):
        book.read()
    with pytest.raises(StateError, match=r"cannot read .*token.sha256: .*; run lossloop init"):
        book.checker()
