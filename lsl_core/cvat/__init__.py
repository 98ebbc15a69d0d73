"""Everything that LSL asks of a CVAT server; the only room that knows `cvat_sdk`.

Signing in (a session is safe to read from several threads; every call has a timeout)::

    connect(url, PasswordLogin(user, password) | TokenLogin(token) | SavedKey(user, key), *,
            organisation=None, verify_tls=True, timeout_s=75, report=None) -> CvatSession
    session.url, .user, .organisation, .server (ServerInfo), .saved_login, .key,
    session.organisations()
    saved_profiles() -> {name: server};  profile_login(name) -> (server, TokenLogin)

Reading::

    list_tasks(session, *, search="", project_id=None, labels=True) -> list[TaskInfo]
    get_task(session, task_id) -> TaskInfo
    task_labels(session, task_id) -> list[CvatLabel]
    task_frames(session, task_id) -> list[FrameInfo]
    task_jobs(session, task_id) -> list[JobInfo]
    frame_url(session, jobs, frame) -> str
    pull_frames(session, task_id, folder, *, frames=None, progress) -> PulledFrames
    pull_task(session, task_id, folder, *, progress) -> (TaskState, PulledFrames)
    frame_bytes(session, task_id, frame, *, quality="compressed") -> bytes
    has_functions(session), list_functions(session), try_function(session, name): CVAT's AI tools
    read_task(session, task_id) -> TaskState;  state.objects() -> Converted
        Converted.frames[n]: FrameAnnotations(instances, has_mask, shape_ids, sources)
        Converted.left_out: what did not become objects, and why
    An object drawn as a rectangle has its whole box as mask and has_mask False.

Writing (nothing but these changes a server)::

    plan_push(session, task_id, {frame: Instances}, labels, *, choices=PushChoices(), run_id="",
              journal=None) -> PushPlan
    apply_push(session, plan, journal, *, snapshot=Path, confirmed_task=None, progress)
               -> PushResult
    resume_push(session, journal, push_id, *, progress) -> PushResult
    undo_push(session, journal, push_id, *, progress) -> UndoResult
    review_push(session, journal, push_id) -> Review: what people did with it (writes nothing)
    create_task(session, name, [(label, shape type)], images, *, project_id=None,
                segment_size=None, overlap=None, subset="", arrival=None, progress) -> TaskInfo
    Arrivals(path).open(key, url=) -> Arrival: an upload that goes on after a kill
    draw_in_new_task(session, task, {frame: (Instances, has_mask)}, labels, *, progress) -> int
    delete_task(session, task_id)
    add_label(session, task_id, name, Drawing) -> CvatLabel
    Journal(path): .pushes(url=, task_id=), .get(id), .scores(id)

`plan.token` is the same for the same task state, objects and choices: a page shows a plan, the
worker makes it anew, and pushes only when the tokens are equal. Masks of predictions are binary:
`instances.binary(threshold)` first.

The rooms within stand on floors, as those of `lsl_core` do: `connection`, on it `tasks`, then
`annotations`; on these `images`, `new_tasks`, `functions` and `push` side by side; then `backup`,
which has a face of its own.
"""

from lsl_core.cvat.annotations.reading import (
    TaskState,
    job_annotations,
    read_task,
    task_annotations,
)
from lsl_core.cvat.annotations.shapes import Converted, FrameAnnotations, LeftOut, to_instances
from lsl_core.cvat.connection.credentials import Credentials, PasswordLogin, SavedKey, TokenLogin
from lsl_core.cvat.connection.profiles import profile_login, saved_profiles
from lsl_core.cvat.connection.session import (
    ConnectStep,
    CvatSession,
    Organisation,
    ServerInfo,
    connect,
    server_address,
)
from lsl_core.cvat.functions.listed import has_functions, list_functions, try_function
from lsl_core.cvat.images.frames import (
    FailedFrame,
    PulledFrames,
    frame_bytes,
    pull_frames,
    pull_task,
    task_preview,
)
from lsl_core.cvat.new_tasks.arrivals import Arrival, Arrivals
from lsl_core.cvat.new_tasks.create import create_task, delete_task
from lsl_core.cvat.new_tasks.seeding import draw_in_new_task
from lsl_core.cvat.push.applying import (
    FailedShapes,
    PushResult,
    apply_push,
    resume_push,
    verify_push,
)
from lsl_core.cvat.push.journal import Journal, PushPhase, PushRecord
from lsl_core.cvat.push.plan import (
    AS_USUAL,
    Conflicts,
    FrameRow,
    LabelRow,
    PushChoices,
    PushMode,
    PushPlan,
    SkippedFrame,
)
from lsl_core.cvat.push.planning import plan_push
from lsl_core.cvat.push.review import (
    Compared,
    Fate,
    Judged,
    Review,
    ReviewRow,
    compare_push,
    review_push,
)
from lsl_core.cvat.push.snapshot import read_snapshot, write_snapshot
from lsl_core.cvat.push.undo import Kept, UndoResult, undo_push
from lsl_core.cvat.tasks.entities import (
    CvatLabel,
    FrameInfo,
    JobInfo,
    JobKind,
    LabelAttribute,
    TaskInfo,
)
from lsl_core.cvat.tasks.label_maps import LabelMaps
from lsl_core.cvat.tasks.label_matching import LabelMatch, add_label, match_labels
from lsl_core.cvat.tasks.reading import (
    frame_url,
    get_task,
    list_tasks,
    require_images,
    task_frames,
    task_jobs,
    task_labels,
)
from lsl_core.geometry.drawable import Drawing

__all__ = [
    "AS_USUAL",
    "Arrival",
    "Arrivals",
    "Compared",
    "Conflicts",
    "ConnectStep",
    "Converted",
    "Credentials",
    "CvatLabel",
    "CvatSession",
    "Drawing",
    "FailedFrame",
    "FailedShapes",
    "Fate",
    "FrameAnnotations",
    "FrameInfo",
    "FrameRow",
    "JobInfo",
    "JobKind",
    "Journal",
    "Judged",
    "Kept",
    "LabelAttribute",
    "LabelMaps",
    "LabelMatch",
    "LabelRow",
    "LeftOut",
    "Organisation",
    "PasswordLogin",
    "PulledFrames",
    "PushChoices",
    "PushMode",
    "PushPhase",
    "PushPlan",
    "PushRecord",
    "PushResult",
    "Review",
    "ReviewRow",
    "SavedKey",
    "ServerInfo",
    "SkippedFrame",
    "TaskInfo",
    "TaskState",
    "TokenLogin",
    "UndoResult",
    "add_label",
    "apply_push",
    "compare_push",
    "connect",
    "create_task",
    "delete_task",
    "draw_in_new_task",
    "frame_bytes",
    "frame_url",
    "get_task",
    "has_functions",
    "job_annotations",
    "list_functions",
    "list_tasks",
    "match_labels",
    "plan_push",
    "profile_login",
    "pull_frames",
    "pull_task",
    "read_snapshot",
    "read_task",
    "require_images",
    "resume_push",
    "review_push",
    "saved_profiles",
    "server_address",
    "task_annotations",
    "task_frames",
    "task_jobs",
    "task_labels",
    "task_preview",
    "to_instances",
    "try_function",
    "undo_push",
    "verify_push",
    "write_snapshot",
]
