"""The sandbox's tables.

Dates are ISO texts in UTC with microseconds, as CVAT's API writes them. Ids are never used
twice, so that a deleted task's id stays unknown.
"""

from __future__ import annotations

#: Raised when a table changes; a folder of another version is refused, not guessed at.
SCHEMA_VERSION = 1

ACCOUNTS = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, username TEXT NOT NULL UNIQUE,
    first_name TEXT NOT NULL, last_name TEXT NOT NULL, email TEXT NOT NULL,
    password TEXT NOT NULL, is_superuser INTEGER NOT NULL, last_login TEXT, joined TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT, secret TEXT NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    kind TEXT NOT NULL, name TEXT NOT NULL, created TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    csrf TEXT NOT NULL, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS organizations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, slug TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    description TEXT NOT NULL, contact TEXT NOT NULL,
    owner_id INTEGER NOT NULL REFERENCES users(id),
    created TEXT NOT NULL, updated TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS memberships (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    org_id INTEGER NOT NULL REFERENCES organizations(id) ON DELETE CASCADE,
    role TEXT NOT NULL, joined TEXT NOT NULL, UNIQUE (user_id, org_id));
"""

WORK = """
CREATE TABLE IF NOT EXISTS projects (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    owner_id INTEGER NOT NULL REFERENCES users(id), assignee_id INTEGER REFERENCES users(id),
    org_id INTEGER REFERENCES organizations(id) ON DELETE CASCADE,
    bug_tracker TEXT NOT NULL DEFAULT '', created TEXT NOT NULL, updated TEXT NOT NULL,
    assigned TEXT);
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
    project_id INTEGER REFERENCES projects(id) ON DELETE CASCADE,
    owner_id INTEGER NOT NULL REFERENCES users(id), assignee_id INTEGER REFERENCES users(id),
    org_id INTEGER REFERENCES organizations(id) ON DELETE CASCADE,
    bug_tracker TEXT NOT NULL DEFAULT '', subset TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL, updated TEXT NOT NULL, assigned TEXT,
    segment_size INTEGER NOT NULL DEFAULT 0, overlap INTEGER,
    replicas INTEGER NOT NULL DEFAULT 0, validation_mode TEXT,
    size INTEGER, image_quality INTEGER NOT NULL DEFAULT 70,
    chunk_size INTEGER NOT NULL DEFAULT 0, start_frame INTEGER NOT NULL DEFAULT 0,
    stop_frame INTEGER NOT NULL DEFAULT 0, frame_filter TEXT NOT NULL DEFAULT '',
    sorting TEXT NOT NULL DEFAULT 'lexicographical', chunks_updated TEXT,
    deleted_frames TEXT NOT NULL DEFAULT '[]');
CREATE INDEX IF NOT EXISTS tasks_project ON tasks (project_id);
CREATE TABLE IF NOT EXISTS frames (
    task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE, number INTEGER NOT NULL,
    name TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, file TEXT NOT NULL,
    PRIMARY KEY (task_id, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL REFERENCES tasks(id) ON DELETE CASCADE,
    type TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL, frames TEXT,
    stage TEXT NOT NULL DEFAULT 'annotation', state TEXT NOT NULL DEFAULT 'new',
    assignee_id INTEGER REFERENCES users(id), assigned TEXT, parent_id INTEGER,
    created TEXT NOT NULL, updated TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS jobs_task ON jobs (task_id);
CREATE TABLE IF NOT EXISTS labels (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id INTEGER REFERENCES projects(id) ON DELETE CASCADE,
    task_id INTEGER REFERENCES tasks(id) ON DELETE CASCADE,
    name TEXT NOT NULL, color TEXT NOT NULL, type TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS specs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    label_id INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE,
    name TEXT NOT NULL, mutable INTEGER NOT NULL, input_type TEXT NOT NULL,
    default_value TEXT NOT NULL, choices TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS issues (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    frame INTEGER NOT NULL, position TEXT NOT NULL, resolved INTEGER NOT NULL DEFAULT 0,
    owner_id INTEGER NOT NULL REFERENCES users(id), assignee_id INTEGER REFERENCES users(id),
    created TEXT NOT NULL, updated TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    issue_id INTEGER NOT NULL REFERENCES issues(id) ON DELETE CASCADE,
    owner_id INTEGER NOT NULL REFERENCES users(id), message TEXT NOT NULL,
    created TEXT NOT NULL, updated TEXT NOT NULL);
"""

ANNOTATIONS = """
CREATE TABLE IF NOT EXISTS shapes (
    id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    frame INTEGER NOT NULL, label_id INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE,
    type TEXT NOT NULL, grp INTEGER, source TEXT NOT NULL, occluded INTEGER NOT NULL,
    outside INTEGER NOT NULL, z_order INTEGER NOT NULL, rotation REAL NOT NULL,
    points TEXT NOT NULL, attributes TEXT NOT NULL, elements TEXT NOT NULL, score REAL NOT NULL);
CREATE INDEX IF NOT EXISTS shapes_job ON shapes (job_id, frame);
CREATE INDEX IF NOT EXISTS shapes_label ON shapes (label_id);
CREATE TABLE IF NOT EXISTS tags (
    id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    frame INTEGER NOT NULL, label_id INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE,
    grp INTEGER, source TEXT NOT NULL, attributes TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tags_job ON tags (job_id, frame);
CREATE TABLE IF NOT EXISTS tracks (
    id INTEGER PRIMARY KEY, job_id INTEGER NOT NULL REFERENCES jobs(id) ON DELETE CASCADE,
    frame INTEGER NOT NULL, label_id INTEGER NOT NULL REFERENCES labels(id) ON DELETE CASCADE,
    grp INTEGER, source TEXT NOT NULL, attributes TEXT NOT NULL,
    shapes TEXT NOT NULL, elements TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS tracks_job ON tracks (job_id, frame);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT OR IGNORE INTO counters VALUES
    ('shapes', 0), ('tags', 0), ('tracks', 0), ('tracked_shapes', 0);
"""

REVIEW = """
CREATE TABLE IF NOT EXISTS quality_settings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id INTEGER NOT NULL UNIQUE REFERENCES tasks(id) ON DELETE CASCADE, changed TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, org_id INTEGER REFERENCES organizations(id)
    ON DELETE CASCADE, project_id INTEGER REFERENCES projects(id) ON DELETE CASCADE,
    owner_id INTEGER NOT NULL REFERENCES users(id), body TEXT NOT NULL, created TEXT NOT NULL);
"""

BACKGROUND = """
CREATE TABLE IF NOT EXISTS requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    target TEXT NOT NULL, project_id INTEGER, task_id INTEGER, job_id INTEGER, format TEXT,
    owner_id INTEGER NOT NULL REFERENCES users(id), org_id INTEGER,
    status TEXT NOT NULL, message TEXT NOT NULL DEFAULT '',
    created TEXT NOT NULL, started TEXT, finished TEXT, expiry TEXT,
    result_url TEXT, result_id INTEGER, file TEXT, filename TEXT);
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, owner_id INTEGER NOT NULL REFERENCES users(id),
    place TEXT NOT NULL, filename TEXT NOT NULL, visible TEXT NOT NULL, length INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS native_functions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner_id INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    body TEXT NOT NULL, created TEXT NOT NULL);
"""

ALL = (ACCOUNTS, WORK, ANNOTATIONS, REVIEW, BACKGROUND)
