"""Style and script of the page; both stand in it, and its policy names their hashes, so that nothing else can run."""

from __future__ import annotations

import base64
from hashlib import sha256

STYLE = """
:root { color-scheme: light dark; --ink: #1d2329; --quiet: #5c6670; --paper: #fff; --raised: #f5f6f8;
  --edge: #d9dde2; --link: #0b5a94; --c0: #0072b2; --c1: #c44f00; --c2: #00795a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #a0a9b2; --paper: #14171a; --raised: #1e2327;
  --edge: #353c43; --link: #7cc0f4; --c0: #58b4ee; --c1: #f39455; --c2: #3ecfa2; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: var(--ink);
  background: var(--paper); max-width: 78rem; margin: 0 auto; padding: 1.2rem 1rem 3rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .7rem; }
a { color: var(--link); }
p { margin: .3rem 0; }
.quiet, small, dt { color: var(--quiet); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
#lost { border-left: 4px solid var(--c1); background: var(--raised); padding: .5rem .8rem; margin: .8rem 0; }
#lost[hidden] { display: none; }
.finished { color: var(--c2); font-weight: 600; }
progress { width: 100%; height: .6rem; accent-color: var(--c0); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem; margin: .8rem 0 0; }
.tiles div { background: var(--raised); border: 1px solid var(--edge); border-radius: .5rem; padding: .5rem .8rem; }
dt { font-size: .82rem; } dd { margin: 0; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem; }
figure { margin: 0; min-width: 0; }
.charts figure { display: flex; flex-direction: column; justify-content: space-between; }
.charts figcaption { font-weight: 600; font-size: .9rem; margin-bottom: .2rem; }
.charts svg { width: 100%; height: auto; display: block; }
svg text { font-size: 12px; fill: var(--quiet); font-variant-numeric: tabular-nums; }
.grid { stroke: var(--edge); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.line0 { stroke: var(--c0); } .line1 { stroke: var(--c1); stroke-dasharray: 7 3; }
.line2 { stroke: var(--c2); stroke-dasharray: 2 3; }
.dot0 { fill: var(--c0); } .dot1 { fill: var(--c1); } .dot2 { fill: var(--c2); }
.keys { font-weight: 400; white-space: nowrap; } .key { margin-left: .7rem; }
.key::before { content: ""; display: inline-block; width: 1.3rem; margin-right: .3rem; vertical-align: middle;
  border-top: 2px solid var(--c0); }
.key1::before { border-top: 2px dashed var(--c1); } .key2::before { border-top: 2px dotted var(--c2); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .9rem .28rem 0; border-bottom: 1px solid var(--edge); text-align: right; vertical-align: top; }
th { font-weight: 400; } thead th { color: var(--quiet); font-size: .82rem; vertical-align: bottom; }
th.left, td.left { text-align: left; overflow-wrap: anywhere; } tbody th.left { min-width: 6rem; }
.bar { width: 100%; min-width: 4.5rem; height: .6rem; fill: var(--c0); margin-top: .4rem; }
.wall { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem .8rem; }
.wall figure { position: relative; font-size: .78rem; line-height: 1.4; }
.wall img, .gone { width: 100%; height: auto; aspect-ratio: 1; object-fit: cover; background: var(--raised);
  border: 1px solid var(--edge); border-radius: .4rem; display: block; }
.gone { display: grid; place-items: center; color: var(--quiet); }
.reward { position: absolute; top: .35rem; left: .35rem; background: #14171ad9; color: #fff; border-radius: .3rem;
  padding: 0 .35rem; font-variant-numeric: tabular-nums; }
.wall figcaption { margin-top: .3rem; color: var(--quiet); overflow-wrap: anywhere; }
footer { margin-top: 3rem; font-size: .82rem; color: var(--quiet); }
#concepts table { width: 100%; }
@media (min-width: 56rem) { main { display: grid; grid-template-columns: 3fr 1.4fr; column-gap: 3rem; }
  section { grid-column: 1 / -1; min-width: 0; } #concepts { grid-column: 1; } #refusals { grid-column: 2; } }
@media (max-width: 44rem) { .tiles { grid-template-columns: 1fr 1fr; } }
@media (max-width: 30rem) { .wall { grid-template-columns: 1fr 1fr; } }
@media print { .scroll { overflow: visible; } }
"""
"""Style sheet."""

SCRIPT = """
"use strict";
const main = document.querySelector("main"), lost = document.getElementById("lost");
const pause = 1000 * Number(main.dataset.seconds);
let shown = new Map([...main.children].map(part => [part.id, part.outerHTML]));
function update(part, fresh) {
  // What stays as it is keeps its nodes: images do not blink, and a focus is not lost.
  for (const figure of fresh.querySelectorAll("figure[id]")) {
    const old = document.getElementById(figure.id);
    if (old && old.outerHTML === figure.outerHTML) figure.replaceWith(old);
  }
  const across = [...part.querySelectorAll(".scroll")].map(box => box.scrollLeft);
  part.replaceWith(fresh);
  fresh.querySelectorAll(".scroll").forEach((box, place) => { box.scrollLeft = across[place] || 0; });
}
async function refresh() {
  let wait = pause;
  try {
    const answer = await fetch("fragment", {cache: "no-store", signal: AbortSignal.timeout(15000)});
    if (!answer.ok) throw new Error(await answer.text());
    const parts = new DOMParser().parseFromString(await answer.text(), "text/html").body.children;
    for (const fresh of [...parts]) {
      const before = shown.get(fresh.id), after = fresh.outerHTML, part = document.getElementById(fresh.id);
      if (before === after || !part) continue;
      shown.set(fresh.id, after);
      const focused = part.contains(document.activeElement) ? document.activeElement.href : null;
      update(part, fresh);
      if (focused) [...fresh.querySelectorAll("a")].find(link => link.href === focused)?.focus({preventScroll: true});
    }
    lost.hidden = true;
    // A finished run may be given more iterations.
    if (document.getElementById("status").dataset.state === "finished") wait = 5 * pause;
  } catch (error) {
    if (lost.hidden) lost.textContent = "The server does not answer since " + new Date().toLocaleTimeString() +
      ". This is the last state it sent; the page goes on asking.";
    lost.hidden = false;
  }
  setTimeout(refresh, wait);
}
setTimeout(refresh, pause);
"""
"""Script of the served page: it asks for the parts every few seconds, and replaces those that have changed."""


def policy(*, served: bool) -> str:
    """Content-Security-Policy of the page.

    Args:
        served: True for the page of the server, with its script and its images; False for a file, which has neither
            scripts nor requests.
    """
    rules = ["default-src 'none'", f"style-src {_hash(STYLE)}", "base-uri 'none'", "form-action 'none'"]
    if served:
        rules += [f"script-src {_hash(SCRIPT)}", "img-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"]
    else:
        rules += ["img-src data:"]
    return "; ".join(rules)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"
