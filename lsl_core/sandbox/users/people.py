"""Users, organisations, memberships and access tokens."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from lsl_core.sandbox.base.answers import ApiError, denied, no_content, not_found, reply
from lsl_core.sandbox.base.store import Row, now
from lsl_core.sandbox.calls import listing
from lsl_core.sandbox.calls.web import Call, brief_user
from lsl_core.sandbox.users import accounts


def _user_json(call: Call, row: Row) -> dict[str, Any]:
    return {
        **brief_user(call, row),
        "email": row["email"],
        "groups": ["admin"] if row["is_superuser"] else ["user"],
        "is_staff": bool(row["is_superuser"]),
        "is_superuser": bool(row["is_superuser"]),
        "is_active": True,
        "last_login": row["last_login"],
        "date_joined": row["joined"],
        "has_analytics_access": bool(row["is_superuser"]),
    }


def _shared_orgs(call: Call) -> set[int]:
    sql = "SELECT org_id FROM memberships WHERE user_id = ?"
    if call.org.id is not None:
        return {call.org.id}
    return {row[0] for row in call.db.rows(sql, (call.user.id,))}


def list_users(call: Call) -> Response:
    """GET /api/users: all for an administrator, else oneself and fellow members."""
    fellows = {call.user.id}
    for org_id in _shared_orgs(call):
        sql = "SELECT user_id FROM memberships WHERE org_id = ?"
        fellows |= {row[0] for row in call.db.rows(sql, (org_id,))}
    is_whole = call.user.is_admin and call.org.id is None
    found = [
        _user_json(call, row) if call.user.is_admin else brief_user(call, row)
        for row in call.db.rows("SELECT * FROM users")
        if is_whole or row["id"] in fellows
    ]
    fields = ("username", "first_name", "last_name")
    return reply(listing.page(call, found, search=fields, equal=("username", "is_active")))


def get_self(call: Call) -> Response:
    """GET /api/users/self."""
    row = call.db.row("SELECT * FROM users WHERE id = ?", (call.user.id,))
    if row is None:
        raise not_found("User")
    return reply(_user_json(call, row))


def get_user(call: Call) -> Response:
    """GET /api/users/<id>: everything of oneself, the name of others."""
    row = call.db.row("SELECT * FROM users WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("User")
    is_open = call.user.is_admin or row["id"] == call.user.id
    return reply(_user_json(call, row) if is_open else brief_user(call, row))


def _org_json(call: Call, row: Row) -> dict[str, Any]:
    owner = call.db.row("SELECT * FROM users WHERE id = ?", (row["owner_id"],))
    return {
        "id": row["id"],
        "slug": row["slug"],
        "name": row["name"],
        "description": row["description"],
        "created_date": row["created"],
        "updated_date": row["updated"],
        "contact": json.loads(row["contact"]),
        "owner": None if owner is None else brief_user(call, owner),
    }


def _is_member(call: Call, org_id: int) -> bool:
    sql = "SELECT 1 FROM memberships WHERE user_id = ? AND org_id = ?"
    return call.user.is_admin or call.db.row(sql, (call.user.id, org_id)) is not None


def list_organisations(call: Call) -> Response:
    """GET /api/organizations."""
    rows = call.db.rows("SELECT * FROM organizations")
    found = [_org_json(call, row) for row in rows if _is_member(call, row["id"])]
    return reply(listing.page(call, found, search=("name", "owner", "slug"), equal=("slug",)))


def _org(call: Call) -> Row:
    row = call.db.row("SELECT * FROM organizations WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("Organization")
    if not _is_member(call, row["id"]):
        raise denied()
    return row


def get_organisation(call: Call) -> Response:
    """GET /api/organizations/<id>."""
    return reply(_org_json(call, _org(call)))


def create_organisation(call: Call) -> Response:
    """POST /api/organizations."""
    given = call.json_object()
    slug = given.get("slug")
    if not isinstance(slug, str) or not slug or len(slug) > 16:
        raise ApiError(400, {"slug": ["A slug has 1 to 16 characters."]})
    if call.db.row("SELECT 1 FROM organizations WHERE slug = ?", (slug,)) is not None:
        raise ApiError(400, {"slug": ["organization with this slug already exists."]})
    org_id = accounts.add_organisation(
        call.db, slug, call.user.id, name=str(given.get("name") or slug)
    )
    row = call.db.row("SELECT * FROM organizations WHERE id = ?", (org_id,))
    if row is None:
        raise not_found("Organization")
    return reply(_org_json(call, row), 201)


def patch_organisation(call: Call) -> Response:
    """PATCH /api/organizations/<id>: name, description, contact; the slug stays."""
    row = _org(call)
    if row["owner_id"] != call.user.id and not call.user.is_admin:
        raise denied()
    given = call.json_object()
    call.db.run(
        "UPDATE organizations SET name = ?, description = ?, contact = ?, updated = ? WHERE id = ?",
        (
            given.get("name", row["name"]), given.get("description", row["description"]),
            json.dumps(given["contact"]) if "contact" in given else row["contact"], now(),
            row["id"],
        ),
    )  # fmt: skip
    return get_organisation(call)


def delete_organisation(call: Call) -> Response:
    """DELETE /api/organizations/<id> with all that belongs to it."""
    row = _org(call)
    if row["owner_id"] != call.user.id and not call.user.is_admin:
        raise denied()
    call.db.run("DELETE FROM organizations WHERE id = ?", (row["id"],))
    return no_content()


def _member_json(call: Call, row: Row) -> dict[str, Any]:
    user = call.db.row("SELECT * FROM users WHERE id = ?", (row["user_id"],))
    return {
        "id": row["id"],
        "user": None if user is None else brief_user(call, user),
        "organization": row["org_id"],
        "is_active": True,
        "joined_date": row["joined"],
        "role": row["role"],
        "invitation": None,
    }


def list_memberships(call: Call) -> Response:
    """GET /api/memberships: of the organisation named, else of all one's own."""
    orgs = _shared_orgs(call)
    found = [
        _member_json(call, row)
        for row in call.db.rows("SELECT * FROM memberships")
        if row["org_id"] in orgs
    ]
    return reply(listing.page(call, found, search=("user", "role"), equal=("user", "role")))


def get_membership(call: Call) -> Response:
    """GET /api/memberships/<id>."""
    row = call.db.row("SELECT * FROM memberships WHERE id = ?", (call.id(),))
    if row is None:
        raise not_found("Membership")
    if not _is_member(call, row["org_id"]):
        raise denied()
    return reply(_member_json(call, row))


def invite(call: Call) -> Response:
    """POST /api/invitations: a user with that address becomes a member of the organisation."""
    given = call.json_object()
    email, role = given.get("email"), given.get("role")
    if call.org.id is None:
        raise ApiError(400, ["An organisation is needed"])
    org = call.db.row("SELECT * FROM organizations WHERE id = ?", (call.org.id,))
    user = call.db.row("SELECT * FROM users WHERE email = ?", (email,))
    if org is None or (org["owner_id"] != call.user.id and not call.user.is_admin):
        raise denied()
    if user is None or role not in accounts.ROLES or role == "owner":
        raise ApiError(400, {"email": ["There is no such user, or no such role."]})
    accounts.add_member(call.db, org["id"], user["id"], role=str(role))
    return reply(
        {
            "key": f"{org['id']}-{user['id']}",
            "created_date": now(),
            "owner": brief_user(call, user),
            "role": role,
            "organization": org["id"],
            "expired": False,
        },
        201,
    )


def _token_json(call: Call, row: Row) -> dict[str, Any]:
    owner = call.db.row("SELECT * FROM users WHERE id = ?", (row["user_id"],))
    return {
        "id": row["id"],
        "name": row["name"],
        "created_date": row["created"],
        "updated_date": row["created"],
        "expiry_date": None,
        "last_used_date": None,
        "read_only": False,
        "owner": None if owner is None else brief_user(call, owner),
    }


def _own_tokens(call: Call) -> list[Row]:
    if not call.context.flavour.has_access_tokens:
        raise not_found()
    sql = "SELECT * FROM tokens WHERE user_id = ? AND kind = 'access' ORDER BY id"
    return call.db.rows(sql, (call.user.id,))


def list_tokens(call: Call) -> Response:
    """GET /api/auth/access_tokens: without their secrets."""
    found = [_token_json(call, row) for row in _own_tokens(call)]
    return reply(listing.page(call, found))


def create_token(call: Call) -> Response:
    """POST /api/auth/access_tokens: the only time that the secret is shown."""
    _own_tokens(call)
    name = str(call.json_object().get("name") or "token")
    secret = accounts.make_token(call.db, call.user.id, kind="access", name=name)
    row = call.db.row("SELECT * FROM tokens WHERE secret = ?", (secret,))
    if row is None:
        raise not_found()
    return reply({**_token_json(call, row), "value": secret}, 201)


def get_own_token(call: Call) -> Response:
    """GET /api/auth/access_tokens/self: the token that this call brought."""
    secret = call.request.headers.get("authorization", "").partition(" ")[2]
    for row in _own_tokens(call):
        if row["secret"] == secret:
            return reply(_token_json(call, row))
    raise not_found()


def delete_token(call: Call) -> Response:
    """DELETE /api/auth/access_tokens/<id>."""
    if call.id() not in [row["id"] for row in _own_tokens(call)]:
        raise not_found()
    call.db.run("DELETE FROM tokens WHERE id = ?", (call.id(),))
    return no_content()
