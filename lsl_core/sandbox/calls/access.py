"""Who may see and change which project, task and job.

CVAT's own policies, cut down: an administrator may everything; an owner and an assignee may see
and annotate; in an organisation its owner, maintainers and supervisors see all, its workers what
is assigned to them; deleting is for the owner and the organisation's owner and maintainers.
"""

from __future__ import annotations

from lsl_core.sandbox.base.answers import denied, not_found
from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.calls.web import Call

_SEE_ALL = ("owner", "maintainer", "supervisor")
_RULE_ALL = ("owner", "maintainer")


def _role(call: Call, org_id: int | None) -> str | None:
    if org_id is None:
        return None
    if call.org.id == org_id:
        return call.org.role
    found = call.db.value(
        "SELECT role FROM memberships WHERE user_id = ? AND org_id = ?", (call.user.id, org_id)
    )
    return None if found is None else str(found)


def _is_own(call: Call, row: Row) -> bool:
    return call.user.id in (row["owner_id"], row["assignee_id"])


def may_see_project(call: Call, row: Row) -> bool:
    """Whether the caller may see a project."""
    if call.user.is_admin or _is_own(call, row) or _role(call, row["org_id"]) in _SEE_ALL:
        return True
    sql = (
        "SELECT 1 FROM tasks LEFT JOIN jobs ON jobs.task_id = tasks.id"
        " WHERE tasks.project_id = ? AND (tasks.assignee_id = ? OR jobs.assignee_id = ?)"
    )
    return call.db.row(sql, (row["id"], call.user.id, call.user.id)) is not None


def may_see_task(call: Call, row: Row) -> bool:
    """Whether the caller may see a task and annotate it."""
    if call.user.is_admin or _is_own(call, row) or _role(call, row["org_id"]) in _SEE_ALL:
        return True
    if row["project_id"] is not None:
        project = call.db.row("SELECT * FROM projects WHERE id = ?", (row["project_id"],))
        if project is not None and _is_own(call, project):
            return True
    sql = "SELECT 1 FROM jobs WHERE task_id = ? AND assignee_id = ?"
    return call.db.row(sql, (row["id"], call.user.id)) is not None


def _may_rule(call: Call, row: Row) -> bool:
    if call.user.is_admin or call.user.id == row["owner_id"]:
        return True
    return _role(call, row["org_id"]) in _RULE_ALL


def project(call: Call, project_id: int, *, to_delete: bool = False) -> Row:
    """Load a project that the caller may see (or delete).

    Raises:
        ApiError: 404 if there is none, 403 if it is not the caller's.
    """
    row = call.db.row("SELECT * FROM projects WHERE id = ?", (project_id,))
    if row is None:
        raise not_found("Project")
    if not (_may_rule(call, row) if to_delete else may_see_project(call, row)):
        raise denied()
    return row


def task(call: Call, task_id: int, *, to_delete: bool = False) -> Row:
    """Load a task that the caller may see (or delete).

    Raises:
        ApiError: 404 if there is none, 403 if it is not the caller's.
    """
    row = call.db.row("SELECT * FROM tasks WHERE id = ?", (task_id,))
    if row is None:
        raise not_found("Task")
    if not (_may_rule(call, row) if to_delete else may_see_task(call, row)):
        raise denied()
    return row


def job(call: Call, job_id: int) -> tuple[Row, Row]:
    """Load a job that the caller may see.

    Returns:
        The job's row and its task's row.

    Raises:
        ApiError: 404 if there is none, 403 if it is not the caller's.
    """
    row = call.db.row("SELECT * FROM jobs WHERE id = ?", (job_id,))
    owner = row and call.db.row("SELECT * FROM tasks WHERE id = ?", (row["task_id"],))
    if row is None or owner is None:
        raise not_found("Job")
    if row["assignee_id"] != call.user.id and not may_see_task(call, owner):
        raise denied()
    return row, owner


def may_create(call: Call) -> None:
    """Refuse a worker of the organisation that the call names.

    Raises:
        ApiError: 403.
    """
    if call.org.id is not None and call.org.role == "worker" and not call.user.is_admin:
        raise denied()


def in_scope(call: Call, org_id: int | None) -> bool:
    """Whether a thing of this organisation belongs in a list that the call asks for."""
    return not call.org.is_given or call.org.id == org_id
