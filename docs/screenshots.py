"""Take the pictures of the pages from a running dashboard: `lsl demo` first, then this.

python docs/screenshots.py --url http://127.0.0.1:8501 --out docs/images
"""

# ruff: noqa: T201 - a script for a terminal; a time out is Playwright's

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Page, TimeoutError, sync_playwright

#: Pages, and what must be there before the picture is taken.
PAGES = {
    "connect": "text=What comes next",
    "tasks": ".st-key-task-frames img",
    "sources": ".st-key-gallery img",
    "train": ".js-plotly-plot:visible",
    "preview": ".st-key-preview-strip img",
    "push": "text=4 · Safety",
    "review": "text=Read again",
    "serve": "text=At the model's own",
    "backups": "text=Compare with now",
    "activity": "text=The same by hand",
}
_FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Read the arguments and take the pictures."""
    parser = argparse.ArgumentParser(description="Take the pictures of the dashboard's pages.")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--pages", nargs="*", default=list(PAGES), choices=list(PAGES))
    parser.add_argument("--dark", action="store_true", help="the dark theme; adds -dark to names")
    parser.add_argument("--whole", action="store_true", help="the page to its end")
    parser.add_argument("--width", type=int, default=1440)
    parser.add_argument("--height", type=int, default=900)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=_FLAGS,
        )
        context = browser.new_context(
            viewport={"width": args.width, "height": args.height},
            color_scheme="dark" if args.dark else "light",
        )
        tab = context.new_page()
        for name in args.pages:
            picture = args.out / f"{name}{'-dark' if args.dark else ''}.png"
            shoot(
                tab,
                f"{args.url}/{'' if name == 'connect' else name}",
                PAGES[name],
                picture,
                whole=args.whole,
                zoom=3 if name == "preview" else 0,
            )
            print(picture)
        browser.close()


def shoot(tab: Page, url: str, ready: str, picture: Path, *, whole: bool, zoom: int) -> None:
    """Open a page, wait until it is quiet, and take its picture."""
    tab.goto(url)
    try:
        tab.locator(ready).first.wait_for(state="visible", timeout=60_000)
    except TimeoutError:
        print(f"{url} does not show {ready!r}: the picture is of what there is")
    tab.wait_for_function(
        "() => !document.querySelector('[data-testid=stStatusWidget]')", timeout=60_000
    )
    tab.wait_for_timeout(1500)  # charts and the canvas draw themselves after that
    if not tab.locator("canvas.lsl-viewer").count():
        zoom = 0
    for _ in range(zoom):
        tab.get_by_role("button", name="Zoom in").click()
        tab.wait_for_timeout(400)
    if whole:  # the page scrolls inside: make the window as high as its content
        size = tab.viewport_size or {"width": 1440, "height": 900}
        height = tab.evaluate("document.querySelector('.stMain').scrollHeight")
        tab.set_viewport_size({"width": size["width"], "height": height})
        tab.wait_for_timeout(1500)
        tab.screenshot(path=picture)
        tab.set_viewport_size(size)
    else:
        tab.screenshot(path=picture)


if __name__ == "__main__":
    main()
