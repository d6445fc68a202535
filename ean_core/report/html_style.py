"""The page's style: one column that fits a phone, tables that scroll in their own box, light or dark by preference."""

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1c1e21; --soft: #5f6670; --line: #d9dce1; --strong: #8b929c; --back: #fdfdfc; --card: #f4f5f6;
  --accent: #0b5c92; --on: #0072b2; --gap: #9a5b00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e6e9; --soft: #a2a9b4; --line: #353a41; --strong: #747c87; --back: #15171a; --card: #1f2226;
    --accent: #7cc0f0; --on: #56b4e9; --gap: #e0a64a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0 auto; max-width: 66rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  overflow-wrap: break-word;
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .3rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; line-height: 1.35; margin: 0 0 .4rem; font-weight: 650; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .15em; }
code, pre { font: .86em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
.lead, .intro { color: var(--soft); }
nav p, nav summary { margin: .8rem 0 0; font-weight: 650; font-size: .92rem; }
nav ol {
  list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; margin: .4rem 0 .6rem; padding: 0;
  font-size: .92rem;
}
nav a { display: inline-block; padding: .2rem 0; text-decoration: none; }
nav a:hover { text-decoration: underline; }
main { margin-top: 2rem; }
h2.chapter { font-size: 1.5rem; border: 0; margin: 3rem 0 1.2rem; }
.verdict { border-left: 4px solid var(--accent); background: var(--card); border-radius: 0 6px 6px 0;
  padding: .8rem 1rem; }
.verdict ul { margin: 0; padding-left: 1.1rem; }
.verdict li { margin: .35rem 0; }
ol.note { padding-left: 1.6rem; }
ol.note li { margin: .3rem 0; }
thead button {
  all: unset; cursor: pointer; display: inline-block; padding: .1rem 0;
}
thead button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
thead button::after { content: "\\2195"; opacity: .35; padding-left: .25em; font-size: .9em; }
thead [aria-sort="ascending"] button::after { content: "\\2191"; opacity: 1; }
thead [aria-sort="descending"] button::after { content: "\\2193"; opacity: 1; }
section { margin: 0 0 2.8rem; scroll-margin-top: .5rem; }
figure, .said { margin: 1.3rem 0 1.7rem; min-width: 0; }
.note { color: var(--soft); font-size: .84rem; line-height: 1.5; margin: .5rem 0 0; }
.scroll {
  overflow-x: auto; max-width: 100%;
  background: /* a shade at the right edge while there is more to scroll to */
    linear-gradient(to left, var(--back) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--line), transparent) right / .9rem 100% no-repeat scroll;
}
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table {
  border-collapse: separate; border-spacing: 0; font-size: .9rem; line-height: 1.4;
  font-variant-numeric: tabular-nums lining-nums;
}
thead tr:first-child th { border-top: 1.5px solid var(--strong); }
tbody tr:last-child > * { border-bottom: 1.5px solid var(--strong); }
th, td { padding: .3rem .75rem; text-align: right; white-space: nowrap; font-weight: 400; vertical-align: baseline; }
thead th { color: var(--soft); font-size: .82rem; vertical-align: bottom; }
thead tr:last-child th { border-bottom: 1px solid var(--strong); }
thead .group { text-align: left; padding-bottom: .1rem; }
thead .group span { display: block; border-bottom: 1px solid var(--line); }
th[scope="row"], .left, thead tr:last-child th:first-child { text-align: left; }
th[scope="row"], thead th:first-child {
  position: sticky; left: 0; background: var(--back); padding-left: 0; min-width: 7.5rem; max-width: 45vw;
  white-space: normal;
}
tbody tr:hover > * { background: var(--card); }
.spread { color: var(--soft); font-size: .88em; }
.none { color: var(--strong); }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 0 1.6rem; }
img { display: block; width: auto; max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
.row img { max-width: min(100%, 28rem); }
@media (prefers-color-scheme: dark) { img { filter: brightness(.9); } }
@media (max-width: 44rem) { img.wide { max-width: none; width: 44rem; } }
.gap { border: 1px dashed var(--strong); border-radius: 6px; padding: .6rem .8rem; font-size: .9rem; max-width: 46rem; }
.gap b { color: var(--gap); font-weight: 600; }
.gap code { display: block; margin-top: .25rem; color: var(--soft); }
.maps {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 1.3rem 1.6rem;
  margin: 1.3rem 0;
}
.map h3 { font-size: .9rem; margin: 0 0 .35rem; overflow-wrap: anywhere; }
.stage { display: flex; flex-wrap: wrap; gap: 2px; align-items: center; margin-bottom: 3px; }
.stage b { width: 1.1rem; font-size: .72rem; font-weight: 400; color: var(--soft); font-variant-numeric: tabular-nums; }
.stage i { width: .78rem; height: .78rem; border: 1px solid var(--strong); border-radius: 2px; }
.stage i.on { background: var(--on); border-color: var(--on); }
details.part { border: 0; padding: 0; font-size: inherit; }
details.part > summary { display: flex; align-items: baseline; gap: .5rem; border-top: 1px solid var(--line); }
details.part > summary::before { content: "\\25b8"; color: var(--soft); }
details.part[open] > summary::before { content: "\\25be"; }
details.part > summary h2 { border: 0; }
details { border-top: 1px solid var(--line); padding: .35rem 0; font-size: .88rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
summary span { color: var(--soft); }
pre {
  overflow: auto; background: var(--card); padding: .7rem .8rem; border-radius: 6px; font-size: .78rem;
  max-height: 28rem;
}
@media print {
  nav, details { display: none; } .scroll { overflow: visible; } body { max-width: none; } }
"""
