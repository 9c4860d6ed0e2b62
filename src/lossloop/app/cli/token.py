"""`lossloop token`: who may do what over HTTP and gRPC."""

from __future__ import annotations

from rich.table import Table

from lossloop.access import OWNER, SCOPES, AccessRole, Right, Token
from lossloop.access.audit import AuditLog
from lossloop.access.book import held
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.home import Home
from lossloop.core.clock import SECOND, Micros, SystemClock, format_time, parse_duration
from lossloop.core.errors import InputError, alternatives


def create(
    name: str,
    /,
    *,
    role: str,
    models: str = "",
    scopes: str = "",
    expires: str = "",
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Make a token; its text is shown this once and kept nowhere.

    Parameters
    ----------
    name
        Whose it is: a service, or a person.
    role
        viewer, sender, operator, approver or admin.
    models
        The models that it is for, with commas between; all if left out.
    scopes
        What a sender may send: predictions, outcomes, or both with a comma between. Both if left out.
    expires
        For how long it is good, such as 30d; for ever if left out.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    made = place.tokens.create(
        name, _role(role), models=tuple(_listed(models)), scopes=_scopes(scopes), expires=_end(expires)
    )
    _note(place, "token_created", made.token)
    answer(
        {"token": made.text, **held([made.token])[0]},
        as_json=json,
        words=f"{made.text}\nThis is the token of {name}, {role}; it is not shown again.",
    )


def list_tokens(*, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Show who has a token, what for, and until when; never a token's text.

    Parameters
    ----------
    state
        The state directory.
    json
        Answer as JSON.
    """
    tokens = home(state).tokens.known()
    if json:
        print_json({"tokens": held(tokens)})
    elif tokens:
        show_table(console(), _table(tokens))
    else:
        print("There is no token but the owner's. Next: lossloop token create NAME --role sender")


def revoke(name: str, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Let a token be good no longer; a running server knows within a second.

    Parameters
    ----------
    name
        The token's name or its id. The owner's is `init`: another takes its place in the file `token`.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    if name == OWNER:
        place.tokens.make()
        AuditLog(place.path).append("token_revoked", {"name": OWNER})
        answer({"name": OWNER}, as_json=json, words="the owner's token is another now; see the file token")
        return
    ended = place.tokens.revoke(name)
    _note(place, "token_revoked", ended)
    answer(held([ended])[0], as_json=json, words=f"the token {ended.name!r} is good no longer")


def _note(place: Home, what: str, token: Token) -> None:
    AuditLog(place.path).append(what, held([token])[0])


def _role(text: str) -> AccessRole:
    if text not in [*AccessRole]:
        raise InputError(
            f"there is no role {text!r}; {alternatives(text, [each.value for each in AccessRole])}",
            field="role",
        )
    return AccessRole(text)


def _scopes(text: str) -> tuple[Right, ...]:
    names = _listed(text)
    for name in names:
        if name not in SCOPES:
            raise InputError(
                f"there is no scope {name!r}; {alternatives(name, [each.value for each in SCOPES])}",
                field="scopes",
            )
    return tuple(Right(name) for name in names) or SCOPES


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _end(text: str) -> Micros | None:
    return SystemClock().now() + parse_duration(text) if text else None


def _table(tokens: tuple[Token, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in ("name", "role", "scopes", "models", "good until", "id"):
        table.add_column(heading)
    for each in tokens:
        scopes = ", ".join(each.scopes) if each.role is AccessRole.SENDER else "-"
        table.add_row(each.name, each.role, scopes, ", ".join(each.models) or "all", _until(each), each.id)
    return table


def _until(token: Token) -> str:
    if token.revoked is not None:
        return f"revoked {format_time(token.revoked)[:10]}"
    return "for ever" if token.expires is None else format_time(token.expires // SECOND * SECOND)
