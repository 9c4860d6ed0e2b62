"""Tokens: the owner's, made at `init`, and those with a role; kept as digests, compared in constant time."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.access import OWNER, RIGHTS, AccessRole, Right, TokenBook, bearer
from lossloop.access.book import LOOK_EVERY, held
from lossloop.access.tokens import hash_of, id_in, same
from lossloop.core.clock import DAY, ManualClock
from lossloop.core.errors import AccessError, InputError, StateError, UnknownName

NOW = 1_700_000_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def book(tmp_path: Path, clock: ManualClock) -> TokenBook:
    made = TokenBook(tmp_path, clock)
    made.make()
    return made


def test_the_token_that_was_made_opens_everything(book: TokenBook) -> None:
    token = book.make()
    caller = book.checker().caller(bearer(token))
    assert book.read() == token
    assert len(token) > 40
    assert (caller.name, caller.role, caller.models) == (OWNER, AccessRole.ADMIN, frozenset())
    assert all(caller.may(right) for right in Right)


def test_every_token_is_a_new_one_and_ends_the_one_before(book: TokenBook) -> None:
    old, new = book.make(), book.make()
    assert old != new
    assert book.checker().caller(bearer(new)).name == OWNER
    with pytest.raises(AccessError):
        book.checker().caller(bearer(old))


def test_only_the_owner_can_read_it_and_the_server_does_not_need_to(book: TokenBook, tmp_path: Path) -> None:
    token = book.make()
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("token", "token.sha256")] == [0o600, 0o600]
    assert token not in (tmp_path / "token.sha256").read_text()
    (tmp_path / "token").unlink()
    assert book.checker().caller(bearer(token)).name == OWNER


@pytest.mark.parametrize("form", ["Bearer {}", "bearer {}", "Bearer   {} "])
def test_the_scheme_may_be_written_as_http_allows(book: TokenBook, form: str) -> None:
    assert book.checker().caller(form.format(book.read())).name == OWNER


@pytest.mark.parametrize("header", [None, "", "Basic dXNlcjpwYXNz", "ll_x", "bearer"])
def test_who_sends_no_token_is_told_how(book: TokenBook, header: str | None) -> None:
    with pytest.raises(AccessError, match=r"send the token as 'Authorization: Bearer ...'; ask an admin"):
        book.checker().caller(header)


@given(st.text())
def test_nothing_else_opens(tmp_path_factory: pytest.TempPathFactory, token: str) -> None:
    directory = tmp_path_factory.getbasetemp() / "one-book"
    directory.mkdir(exist_ok=True)
    book = TokenBook(directory)
    if not (directory / "token").exists():
        book.make()
        book.create("web", AccessRole.SENDER)
    with pytest.raises(AccessError):
        book.checker().caller(bearer(token))


@pytest.mark.parametrize("sent", ["ll_secret", "llt_", "llt_{id}_", "llt_{id}_wrong", "llt_{id}", "{digest}"])
def test_a_wrong_token_is_not_repeated_in_the_message(book: TokenBook, sent: str) -> None:
    token = book.create("web", AccessRole.SENDER).token
    text = sent.format(id=token.id, digest=token.digest)
    with pytest.raises(AccessError, match="this token is not known here") as caught:
        book.checker().caller(f"Bearer {text}")
    assert text not in str(caught.value)


def test_a_directory_without_a_token_says_what_to_run(tmp_path: Path) -> None:
    book = TokenBook(tmp_path)
    with pytest.raises(
        StateError, match=r"cannot read the token .*: No such file or directory; run lossloop init"
    ):
        book.read()
    with pytest.raises(StateError, match=r"cannot read .*token.sha256: .*; run lossloop init"):
        book.checker()


# Tokens with a role.


def test_a_token_gives_its_role_s_rights_and_its_text_is_kept_nowhere(
    book: TokenBook, tmp_path: Path
) -> None:
    made = book.create("web", AccessRole.VIEWER, models=("churn",))
    caller = book.checker().caller(bearer(made.text))
    assert (caller.name, caller.role, caller.rights) == ("web", "viewer", RIGHTS[AccessRole.VIEWER])
    assert caller.meets("churn")
    assert not caller.meets("other")
    kept = tmp_path / "access" / "tokens.json"
    assert made.text not in kept.read_text()
    assert hash_of(made.text) in kept.read_text()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert "digest" not in str(held(book.known()))


@pytest.mark.parametrize(
    "scopes", [(Right.PREDICTIONS,), (Right.OUTCOMES,), (Right.PREDICTIONS, Right.OUTCOMES)]
)
def test_a_sender_sends_what_its_token_is_for(book: TokenBook, scopes: tuple[Right, ...]) -> None:
    made = book.create("web", AccessRole.SENDER, scopes=scopes)
    caller = book.checker().caller(bearer(made.text))
    assert {right for right in Right if caller.may(right)} == {Right.ANYONE, Right.ENTER, *scopes}


def test_nobody_who_sends_or_operates_can_also_say_what_happened_unless_the_token_is_for_that() -> None:
    may = {role for role, rights in RIGHTS.items() if {Right.OUTCOMES, Right.OPERATE} <= rights}
    assert may == {AccessRole.ADMIN}
    assert not {Right.OPERATE, Right.PREDICTIONS, Right.OUTCOMES} & RIGHTS[AccessRole.APPROVER]


def test_a_token_expires(book: TokenBook, clock: ManualClock) -> None:
    made = book.create("web", AccessRole.VIEWER, expires=NOW + DAY)
    check = book.checker()
    clock.advance_to(NOW + DAY - 1)
    assert check.caller(bearer(made.text)).name == "web"
    clock.advance_to(NOW + DAY)
    with pytest.raises(AccessError, match=r"the token 'web' expired at 2023-11-15T22:13:20Z; ask an admin"):
        check.caller(bearer(made.text))


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_check_that_is_in_use_sees_what_is_made_and_revoked(book: TokenBook, by: str) -> None:
    check = book.checker()
    made = book.create("web", AccessRole.VIEWER)
    time.sleep(LOOK_EVERY)
    assert check.caller(bearer(made.text)).name == "web"
    book.revoke(getattr(made.token, by))
    time.sleep(LOOK_EVERY)
    with pytest.raises(AccessError, match="the token 'web' was revoked; ask an admin for another"):
        check.caller(bearer(made.text))
    old = book.read()
    book.make()
    time.sleep(LOOK_EVERY)
    with pytest.raises(AccessError, match="not known"):
        check.caller(bearer(old))


def test_a_name_is_free_again_once_its_token_was_revoked(book: TokenBook) -> None:
    first = book.create("web", AccessRole.VIEWER)
    with pytest.raises(InputError, match="there is a token 'web' already; revoke it first"):
        book.create("web", AccessRole.ADMIN)
    book.revoke("web")
    with pytest.raises(UnknownName, match="unknown token 'web'; there are none yet"):
        book.revoke("web")
    second = book.create("web", AccessRole.SENDER)
    assert [each.id for each in book.known()] == [first.token.id, second.token.id]
    assert book.checker().caller(bearer(second.text)).role == AccessRole.SENDER
    with pytest.raises(AccessError, match="revoked"):
        book.checker().caller(bearer(first.text))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "is no name of a token"),
        ({"name": "a b"}, "is no name of a token"),
        ({"name": "a\n"}, "is no name of a token"),
        ({"name": OWNER}, "there is a token 'init' already"),
        ({"models": ("",)}, "name the models"),
        ({"scopes": ()}, "scopes are predictions, outcomes, or both"),
        ({"scopes": (Right.ADMIN,)}, "scopes are predictions, outcomes, or both"),
        ({"role": AccessRole.VIEWER, "scopes": (Right.OUTCOMES,)}, "only a sender's token has scopes"),
        ({"expires": NOW}, "a token must expire later than now"),
    ],
)
def test_what_a_token_cannot_be_is_refused_and_nothing_is_kept(
    book: TokenBook, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        book.create(**{"name": "web", "role": AccessRole.SENDER, **given})
    assert book.known() == ()


def test_tokens_that_are_made_at_once_are_all_kept(book: TokenBook) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: book.create(f"t{n}", AccessRole.VIEWER), range(24)))
    check = book.checker()
    assert {check.caller(bearer(each.text)).name for each in made} == {f"t{n}" for n in range(24)}


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"tokens": [{"id": 1}]}', b"\xff", b'{"tokens": [], "x": 1}']
)
def test_a_damaged_file_lets_nobody_in(book: TokenBook, tmp_path: Path, text: bytes) -> None:
    made = book.create("web", AccessRole.VIEWER)
    (tmp_path / "access" / "tokens.json").write_bytes(text)
    with pytest.raises(StateError, match=r"tokens.json cannot be read .*; restore it from a backup"):
        book.checker()
    with pytest.raises(StateError):
        book.create("other", AccessRole.VIEWER)
    assert made.text


@given(st.text(), st.text())
def test_an_id_is_read_out_of_any_text(id: str, rest: str) -> None:
    assert id_in(f"llt_{id}_{rest}") == id.partition("_")[0]
    assert not id_in(f"x{id}_{rest}") or id.startswith("llt_")


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_digests_are_the_same_exactly_where_texts_are(one: bytes, other: bytes) -> None:
    assert same(hash_of(one.hex()), hash_of(other.hex())) == (one == other)
