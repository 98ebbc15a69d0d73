"""Descriptions of trained models and of long work."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lsl_core.types.labels import Mode


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a model reached on images it never trained on (COCO figures, in [0, 1]).

    With folds, each image was left out once, and these are the means of trainings that were shorter
    than that of the model itself and had fewer images: it is likely a little better.

    ap: mean over IoU 0.50:0.95; ap50, ap75: at one IoU; per_label: AP of each label;
    num_images, num_objects: how much evidence that is; kind: "masks" or "boxes". box_ap, box_ap50,
    box_ap75: the same of boxes, where there are masks. iou: of each label's pixels, for semantic
    models. folds: how many parts were left out in turn, 0 where images were held out. spread:
    standard deviation of the headline over folds, None with fewer than two; label_spread: that of
    each label.
    """

    ap: float
    ap50: float
    ap75: float
    per_label: dict[str, float]
    num_images: int
    num_objects: int
    kind: str
    box_ap: float | None = None
    box_ap50: float | None = None
    box_ap75: float | None = None
    iou: dict[str, float] = field(default_factory=dict)
    spread: float | None = None
    folds: int = 0
    label_spread: dict[str, float] = field(default_factory=dict)

    @property
    def headline(self) -> tuple[str, float]:
        """The figure that decides: the mean IoU of a semantic model, AP otherwise."""
        if self.iou:
            return "IoU", sum(self.iou.values()) / len(self.iou)
        return "AP", self.ap

    @property
    def is_small(self) -> bool:
        """Whether another handful of images could turn the verdict."""
        return self.num_images < SMALL_SAMPLE

    @property
    def words(self) -> str:
        """The figures with their spread, for people."""
        (name, value), spread = self.headline, ""
        if self.spread is not None:
            spread = f" ± {self.spread:.3f}"
        return f"{name} {value:.3f}{spread}, AP50 {self.ap50:.3f} of {self.kind}"

    @property
    def by_label(self) -> tuple[str, ...]:
        """The figure of each label with its spread, for people."""
        name, figures = ("IoU", self.iou) if self.iou else ("AP", self.per_label)
        spread = {label: f" ± {value:.3f}" for label, value in self.label_spread.items()}
        return tuple(
            f"{label}: {name} {value:.3f}{spread.get(label, '')}"
            for label, value in figures.items()
        )

    @property
    def evidence(self) -> str:
        """What the figures were measured on, for people: to be read after "on"."""
        small = ": a small sample" if self.is_small else ""
        how = f", each left out once ({self.folds} folds)" if self.folds else ""
        images = f"{'' if self.folds else 'held-out '}image{'' if self.num_images == 1 else 's'}"
        objects = f"{self.num_objects} object{'' if self.num_objects == 1 else 's'}"
        return f"{self.num_images} {images} with {objects}{how}{small}"


#: Fewer held-out images than this are called a small sample.
SMALL_SAMPLE = 10


class Verdict(StrEnum):
    """How a version did beside its parent, on the same held-out images."""

    FIRST = "first"
    BETTER = "better"
    ALIKE = "alike"
    WORSE = "worse"
    UNKNOWN = "unknown"


#: A smaller difference between two trainings says nothing: seeds differ by as much.
NO_EVIDENCE = 0.02


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure of a version beside its parent's.

    kind: "masks" or "boxes" (AP), or "pixels" (IoU). label: one label, or "" for all of them.
    """

    kind: str
    label: str
    before: float
    after: float

    @property
    def verdict(self) -> Verdict:
        """Whether the difference says anything."""
        if abs(self.after - self.before) < NO_EVIDENCE:
            return Verdict.ALIKE
        return Verdict.BETTER if self.after > self.before else Verdict.WORSE


@dataclass(frozen=True, slots=True)
class Comparison:
    """A version beside its parent.

    parent: id of that version. figure: what was compared ("AP", "box AP", "IoU"). before, after:
    the figure of each, on the same num_images images and the labels that both know. num_seen: how
    many of these images the parent had learnt from, which flatters it.
    """

    verdict: Verdict
    parent: str
    figure: str
    before: float
    after: float
    num_images: int
    num_seen: int = 0
    rows: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True)
class Shots:
    """What folds reached that learnt some of their images.

    num_images: learnt by each, the mean. figure: AP, or IoU of a semantic mode, on the images left
    out; mean over the folds. spread: its standard deviation, None with one fold.
    """

    num_images: int
    figure: float
    spread: float | None

    @property
    def words(self) -> str:
        """For people."""
        spread = "" if self.spread is None else f" ± {self.spread:.2f}"
        images = f"{self.num_images} image{'' if self.num_images == 1 else 's'}"
        return f"{images} {self.figure:.2f}{spread}"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known about a trained model; stored as JSON beside its weights.

    id: unique in the workspace, also its folder. name: what people call it. family: "compact"
    or a foundation model. labels: names in the order of class ids. parent: id of the version
    before, or None. support: name of the source; support_images: how many images it learnt
    from. thresholds: default score threshold per label. window: side length in pixels the model
    was trained at. scale: factor the model resizes images by. settings: family-specific values
    that the network needs to be rebuilt. weights_sha256: hash of the weights file. created:
    ISO 8601, UTC. comparison: with the parent. curve: (iteration, figure) of the held-out images
    during training. learnt, held_out: SHA-256 of the images it learnt from and was measured on.
    calibration: slope and shift that make raw scores chances of being right, or None. sizes: mean
    and spread of the logarithm of each label's size (square root of the box, pixels), or () where
    sizes tell no labels apart. shots: what fewer images reached, fewest first, where it was asked.
    """

    id: str
    name: str
    family: str
    mode: Mode
    labels: tuple[str, ...]
    parent: str | None
    support: str
    support_images: int
    metrics: Metrics | None
    thresholds: dict[str, float]
    window: int
    scale: float
    settings: dict[str, float | int | str | bool]
    weights_sha256: str
    licence: str
    created: str
    train_seconds: float = 0.0
    format_version: int = 1
    comparison: Comparison | None = None
    curve: tuple[tuple[int, float], ...] = ()
    learnt: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    calibration: tuple[float, float] | None = None
    sizes: tuple[tuple[float, float], ...] = ()
    shots: tuple[Shots, ...] = ()

    @property
    def is_first_pass(self) -> bool:
        """Whether its heads were solved for in seconds, and nothing was trained."""
        return bool(self.settings.get("first_pass"))

    @property
    def measured(self) -> str:
        """What is known of how good it is, in words."""
        if self.metrics is not None:
            return f"{self.metrics.words} on {self.metrics.evidence}"
        if self.support_images == 1:
            return "not measured: one image leaves none to measure on, label a second one"
        return "not measured"

    @property
    def fingerprint(self) -> str:
        """What tells two models apart that may answer differently; part of every cache key."""
        numbers = (*(self.calibration or ()), *(n for size in self.sizes for n in size))
        return ":".join([self.weights_sha256, *map(repr, numbers)])


class RunPhase(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_active(self) -> bool:
        """Whether the run may still change."""
        return self in (RunPhase.QUEUED, RunPhase.RUNNING)


@dataclass(frozen=True, slots=True)
class RunState:
    """A snapshot of one run.

    kind: "train", "predict" … subject: what it works on, for people. step, done, total, unit:
    progress of the current step. message: last word, or what failed with its next step. result:
    what the run returned (JSON). started, ended: seconds since the epoch, or None.
    """

    id: str
    kind: str
    subject: str
    owner: str
    phase: RunPhase
    step: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    hint: str = ""
    result: dict[str, object] = field(default_factory=dict)
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
