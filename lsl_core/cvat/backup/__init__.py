"""What a backup reads from CVAT, and how it gets back: documents, archives, nothing about storage.

A *unit* is what is backed up, kept and restored as one: a project with its tasks, or a task that
belongs to none. Its documents are JSON as CVAT sends it, one file each, under these paths::

    project-5/project.json           as the API describes it, with its labels
    project-5/labels.json            of the project, with attributes
    project-5/guide.json             what annotators are told, where there is one
    project-5/quality.json           settings of the quality check of the project's tasks
    project-5/archive.zip            CVAT's own backup of it, images included (full tier only)
    project-5/tasks/41/task.json     the same for each task, and for a loose task under task-41/
    project-5/tasks/41/labels.json   the labels that its annotations name
    project-5/tasks/41/data.json     frames with names and sizes, deleted ones marked
    project-5/tasks/41/jobs.json     all jobs: range, kind, stage, state, assignee
    project-5/tasks/41/issues.json   reviewers' issues with their comments
    project-5/tasks/41/quality.json  settings of the quality check
    project-5/tasks/41/annotations/77.json   tags, shapes and tracks of job 77, tracks as tracks
    instance/about.json, users.json, organisations.json, members.json, webhooks.json, clouds.json

A document that could not be read is a `Lack` in its place, and never stops the others.
"""

from lsl_core.cvat.backup.archives import check_archive, export_archive, restore_archive
from lsl_core.cvat.backup.comparing import differences
from lsl_core.cvat.backup.granular import plan_restore
from lsl_core.cvat.backup.instance import restore_organisations, restore_webhooks
from lsl_core.cvat.backup.inventory import Inventory, Unit, UnitKind, list_units
from lsl_core.cvat.backup.people import People
from lsl_core.cvat.backup.reading import (
    ARCHIVE_LEAVES_OUT,
    Document,
    Lack,
    read_instance,
    read_live,
    read_unit,
)
from lsl_core.cvat.backup.reapply import Reapplied, make_empty_task, reapply
from lsl_core.cvat.backup.saved import Relabel, SavedTask, SavedUnit, saved_objects, saved_units
from lsl_core.cvat.tasks.entities import organisation_id

__all__ = [
    "ARCHIVE_LEAVES_OUT",
    "Document",
    "Inventory",
    "Lack",
    "People",
    "Reapplied",
    "Relabel",
    "SavedTask",
    "SavedUnit",
    "Unit",
    "UnitKind",
    "check_archive",
    "differences",
    "export_archive",
    "list_units",
    "make_empty_task",
    "organisation_id",
    "plan_restore",
    "read_instance",
    "read_live",
    "read_unit",
    "reapply",
    "restore_archive",
    "restore_organisations",
    "restore_webhooks",
    "saved_objects",
    "saved_units",
]
