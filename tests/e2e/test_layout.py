"""What our own rules of style do to Streamlit's widgets."""

from pathlib import Path

import pytest

APP = Path(__file__).with_name("layout_app.py")
#: Colour of the words of a button, and of what they stand on.
COLOURS = """(key) => {
  const button = document.querySelector(`.st-key-${key} button`);
  const clear = (colour) => colour === 'rgba(0, 0, 0, 0)';
  let under = button;
  while (under && clear(getComputedStyle(under).backgroundColor)) under = under.parentElement;
  return [getComputedStyle(button.querySelector('p')).color,
          getComputedStyle(under).backgroundColor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_of_a_primary_button_are_seen_whether_it_can_be_pressed_or_not(
    new_page, serve, scheme
):
    page = new_page(color_scheme=scheme)
    page.goto(serve(APP))
    page.get_by_role("button", name="Push none").wait_for()
    for key in ("can", "cannot", "more"):
        words, ground = page.evaluate(COLOURS, key)
        assert words != ground, key
