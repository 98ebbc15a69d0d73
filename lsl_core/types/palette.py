"""How labels look, wherever they are drawn: colour, fill pattern and number."""

from __future__ import annotations

from dataclasses import dataclass

#: Okabe & Ito's colours for colour-blind readers (https://jfly.uni-koeln.de/color), RGB, in the
#: order of `chartCategoricalColors`. They fill and outline; they never carry text.
COLOURS: tuple[tuple[int, int, int], ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)

#: Fill patterns, so that colour is never the only sign.
PATTERNS: tuple[str, ...] = ("solid", "rising", "grid", "dots", "falling", "level", "upright")


@dataclass(frozen=True, slots=True)
class LabelStyle:
    """How one label is drawn: RGB colour, name of the fill pattern, number from 1."""

    colour: tuple[int, int, int]
    pattern: str
    number: int

    @property
    def css(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.colour)


def label_style(class_id: int) -> LabelStyle:
    """Return the style of a label; colour and pattern together repeat after 49 labels."""
    turn, colour = divmod(class_id, len(COLOURS))
    return LabelStyle(COLOURS[colour], PATTERNS[(colour + turn) % len(PATTERNS)], class_id + 1)
