"""The look of the sandbox's pages: one stylesheet, light and dark, and a logo."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1c2430; --soft: #5b6675;
  --line: #dfe3e8; --accent: #2563eb; --warn: #92400e; --warn-bg: #fef3c7; }
@media (prefers-color-scheme: dark) { :root { --bg: #12161c; --card: #1b2129; --ink: #e8ecf1;
  --soft: #9aa6b5; --line: #2c3541; --accent: #7aa7ff; --warn: #fde68a; --warn-bg: #422006; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
.banner { background: var(--warn-bg); color: var(--warn); padding: .45rem 1.25rem;
  font-weight: 600; }
.banner span { font-weight: 400; }
header, main { max-width: 78rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1rem; color: var(--soft); }
h1 { font-size: 1.5rem; margin: .3rem 0 1rem; } h2 { font-size: 1.05rem; margin: 1.75rem 0 .6rem; }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); }
.frames { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  overflow: hidden; display: block; color: inherit; }
.card:hover { border-color: var(--accent); text-decoration: none; }
.card img, .card .none { width: 100%; aspect-ratio: 4 / 3; object-fit: cover; display: block;
  background: var(--line); }
.card div.text { padding: .6rem .8rem .75rem; } .card strong { overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
th, td { padding: .35rem .9rem; text-align: left; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; } td:first-child { min-width: 8rem; }
td.n, th.n { text-align: right;
  font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; flex: none; width: .8rem; height: .8rem; border-radius: .2rem;
  margin-right: .5rem; vertical-align: -.08rem; }
.view { display: grid; gap: 1.25rem; grid-template-columns: minmax(0, 1fr) 20rem; }
@media (max-width: 60rem) { .view { grid-template-columns: 1fr; } }
.view svg { width: 100%; height: auto; max-height: 80vh; background: #000;
  border-radius: .6rem; display: block; }
nav.frames-nav { display: flex; gap: .5rem; align-items: center; margin: 0 0 .8rem;
  flex-wrap: wrap; }
nav.frames-nav a, nav.frames-nav span.off { padding: .25rem .8rem; border-radius: .4rem;
  border: 1px solid var(--line); background: var(--card); } span.off { color: var(--soft); }
svg g { fill: var(--c); fill-opacity: .28; stroke: var(--c); stroke-linejoin: round;
  vector-effect: non-scaling-stroke; }
svg g polyline { fill: none; } svg g.auto { stroke-dasharray: var(--dash); }
svg g:hover { fill-opacity: .5; }
footer { max-width: 78rem; margin: 2.5rem auto 0; padding: 1rem 1.25rem 2rem;
  color: var(--soft); font-size: .9rem; border-top: 1px solid var(--line); }
""".strip()

LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect x="2" y="2" width="28" height="28" rx="6" fill="#f59e0b"/>'
    '<path d="M8 22V10m0 12h6M24 11c-1-1-5-2-6 1s7 3 6 7-6 3-7 1" fill="none" stroke="#fff"'
    ' stroke-width="3" stroke-linecap="round"/></svg>'
)
