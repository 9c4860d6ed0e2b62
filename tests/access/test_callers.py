"""What a caller may do, and the sentence that says what is lacking."""

from __future__ import annotations

import pytest

from lossloop.access import ANYONE, RIGHTS, AccessRole, Caller, Right, roles_with
from lossloop.core.errors import AccessError, Forbidden


def caller(role: AccessRole, *models: str, without: Right | None = None) -> Caller:
    rights = RIGHTS[role] - ({without} if without else set())
    return Caller(name="web", rights=rights, role=role, models=frozenset(models))


@pytest.mark.parametrize("role", AccessRole)
@pytest.mark.parametrize("right", Right)
def test_a_right_is_given_or_the_roles_that_have_it_are_named(role: AccessRole, right: Right) -> None:
    asking = caller(role)
    if right is Right.ANYONE or right in RIGHTS[role]:
        asking.require(right)
        return
    with pytest.raises(Forbidden) as caught:
        asking.require(right)
    wanted = " or ".join(roles_with(right))
    assert str(caught.value) == f"the token 'web' has the role {role}; this needs {wanted}"
    assert wanted.endswith("admin")


def test_a_sender_without_the_scope_is_told_what_the_token_is_for() -> None:
    with pytest.raises(Forbidden, match=r"^the token 'web' is for predictions; this needs one for outcomes$"):
        caller(AccessRole.SENDER, without=Right.OUTCOMES).require(Right.OUTCOMES)


def test_a_token_for_some_models_is_for_no_other_and_not_for_all() -> None:
    asking = caller(AccessRole.ADMIN, "b", "a")
    asking.require_model("a")
    with pytest.raises(Forbidden, match=r"the token 'web' is for a, b, not for 'c'"):
        asking.require_model("c")
    with pytest.raises(Forbidden, match=r"this concerns all models; the token 'web' is for a, b only"):
        asking.require_all_models()


def test_a_token_for_all_models_is_for_any() -> None:
    asking = caller(AccessRole.VIEWER)
    asking.require_model("a")
    asking.require_all_models()
    assert asking.meets("anything")


def test_without_a_token_there_is_only_what_anyone_may_do() -> None:
    assert {right for right in Right if ANYONE.may(right)} == {Right.ANYONE}


def test_an_admin_may_do_everything_and_no_other_role_all_of_it() -> None:
    assert {role for role, rights in RIGHTS.items() if {*Right} - {Right.ANYONE} <= rights} == {"admin"}
    assert issubclass(Forbidden, AccessError)
