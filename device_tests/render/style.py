"""The style of the HTML page: light, and dark where the reader's system is."""

STYLE = """
:root {
  --page: #f7f7f5; --card: #ffffff; --ink: #1b1b1a; --mute: #62615d; --line: #e3e2dd;
  --c0: #8d8c86; --c1: #2a78d6; --c2: #d95926; --c3: #6d54c9; --c4: #12936a;
  --good: #0a7d3d; --bad: #c02c2c; --warn-bg: #fff3d6; --warn-ink: #6b4a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #151514; --card: #1e1e1c; --ink: #f0efeb; --mute: #a3a29b; --line: #35342f;
    --c0: #84837c; --c1: #4f94e8; --c2: #e8743f; --c3: #9a86ea; --c4: #2bb187;
    --good: #4cc27d; --bad: #f07a7a; --warn-bg: #3a2f14; --warn-ink: #f2d48a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 36px 0 10px; }
.where, .note, figcaption p { color: var(--mute); }
.where { margin: 6px 0 14px; }
.note { font-size: 13.5px; margin: 8px 0 0; max-width: 68ch; }
.verdict { margin: 0; font-weight: 600; }
.verdict.passed { color: var(--good); }
.verdict.failed { color: var(--bad); }
.banner { background: var(--warn-bg); color: var(--warn-ink); border-radius: 10px;
  padding: 12px 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px;
  margin: 28px 0 8px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px; color: var(--mute); font-size: 14px; line-height: 1.4; }
.big { color: var(--ink); font-size: 26px; font-weight: 650; letter-spacing: -0.01em;
  line-height: 1.3; }
figure { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  margin: 16px 0; padding: 18px 20px 12px; overflow-x: auto; }
figcaption h2 { margin: 0; }
figcaption p { margin: 2px 0 14px; font-size: 14px; }
svg { display: block; width: 100%; min-width: 560px; height: auto; font-family: inherit; }
svg .ink { fill: var(--ink); } svg .mute { fill: var(--mute); }
svg .name { fill: var(--c); font-weight: 600; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--mute); stroke-width: 1; }
svg .lead { stroke: var(--line); stroke-width: 1; }
svg .whisker { stroke: var(--ink); stroke-width: 1.5; opacity: 0.75; }
svg .line { fill: none; stroke: var(--c); stroke-width: 2.5; stroke-linejoin: round;
  stroke-linecap: round; }
svg .dot { fill: var(--c); stroke: var(--card); stroke-width: 1.5; }
svg .bar { fill: var(--c); }
svg .range { stroke: var(--c); stroke-width: 5; stroke-linecap: round; opacity: 0.35; }
.c0 { --c: var(--c0); } .c1 { --c: var(--c1); } .c2 { --c: var(--c2); }
.c3 { --c: var(--c3); } .c4 { --c: var(--c4); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px 6px 0; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th:first-child { text-align: left; } th { font-weight: 500; }
thead th { color: var(--mute); font-size: 13px; white-space: normal; vertical-align: bottom; }
.words th, .words td { white-space: normal; text-align: left; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0;
  font-size: 14px; }
dt { color: var(--mute); } dd { margin: 0; }
@media (max-width: 560px) { main { padding: 24px 14px 60px; } h1 { font-size: 24px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 6px; } }
@media print { body { background: #fff; } figure, .tile { break-inside: avoid; } }
"""
