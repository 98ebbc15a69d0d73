"""Keys of widgets and of session state: one name for each thing, in one place."""

from __future__ import annotations

VIEWER = "lsl-viewer"
SERVE_TEST_VIEWER = "lsl-serve-test-viewer"
REVIEW_VIEWER = "lsl-review-viewer"

WORKSPACE = "lsl-workspace"
#: What was open last, by query parameter.
OPENED = "lsl-opened"

#: Query parameters.
TASK, MODEL, FRAME, SOURCE, RUN = "task", "model", "frame", "source", "run"

CONNECT_METHOD = "connect-method"
CONNECT_URL = "connect-url"
CONNECT_USER = "connect-user"
CONNECT_PASSWORD = "connect-password"  # noqa: S105 - the key of a field
CONNECT_TOKEN = "connect-token"  # noqa: S105 - the key of a field
CONNECT_ORGANISATION = "connect-organisation"
CONNECT_TLS = "connect-tls"
CONNECT_REMEMBER = "connect-remember"
CONNECT_GO = "connect-go"
CONNECT_LEAVE = "connect-leave"
CONNECT_SWITCH = "connect-switch"

TASKS_TABLE = "tasks-table"
TASKS_SEARCH = "q"
TASKS_STATUS = "status"
TASKS_REFRESH = "tasks-refresh"
TASKS_PREVIEW = "tasks-preview"
TASKS_IMPORT = "tasks-import"
TASKS_IMPORT_NAME = "tasks-import-name"

SOURCES_PICK = "sources-pick"
SOURCES_LABEL = "sources-label"
SOURCES_PAGE = "sources-page"
SOURCES_NAME = "sources-name"
SOURCES_RENAME = "sources-rename"
SOURCES_REMOVE = "sources-remove"
SOURCES_FILES = "sources-files"
SOURCES_COCO = "sources-coco"
SOURCES_NEW_NAME = "sources-new-name"
SOURCES_UPLOAD = "sources-upload"

TRAIN_SOURCE = "train-source"
TRAIN_MODE = "train-mode"
TRAIN_NAME = "train-name"
TRAIN_MINUTES = "train-minutes"
TRAIN_VALID = "train-valid"
TRAIN_GO = "train-go"
TRAIN_MODELS = "train-models"
TRAIN_REMOVE = "train-remove"

PREVIEW_TASK = "preview-task"
PREVIEW_MODEL = "preview-model"
PREVIEW_GO = "preview-go"
PREVIEW_AGAIN = "preview-again"
PREVIEW_WINDOWS = "preview-windows"
PREVIEW_PREVIOUS = "preview-previous"
PREVIEW_NEXT = "preview-next"
PREVIEW_JUMP = "preview-jump"
PREVIEW_SORT = "preview-sort"
PREVIEW_COMPARE = "preview-compare"
PREVIEW_FLAG = "preview-flag"
PREVIEW_MASKS = "preview-masks"
PREVIEW_STRIP = "preview-strip"
PREVIEW_PUSH = "preview-push"
PREVIEW_TOTAL = "preview-total"

PUSH_MAPPING = "push-mapping"
PUSH_MODE = "push-mode"
PUSH_PLAN = "push-plan"
PUSH_GO = "push-go"
PUSH_DONE = "push-done"
PUSH_UNDO = "push-undo"
PUSH_UNDONE = "push-undone"
PUSH_REFRESH = "push-refresh"

ACTIVITY_TABLE = "activity-table"
ACTIVITY_CANCEL = "activity-cancel"
ACTIVITY_AGAIN = "activity-again"
