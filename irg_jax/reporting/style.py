"""The look of the page: one style sheet, light and dark, desktop and phone, without anything from the network."""

STYLE = """
:root { color-scheme: light dark;
  --bg: #f6f6f3; --card: #ffffff; --ink: #1b1d21; --soft: #5c6370; --line: #e1e2dd; --wash: #efefea;
  --t1: #b45309; --t2: #1d4ed8; --good: #15803d; --bad: #b91c1c; --good-wash: #e4f4e8; --bad-wash: #fbe7e7;
  --c0: #1d4ed8; --c1: #d97706; --c2: #0f9d76; --c3: #c026d3; --c4: #64748b; --c5: #dc2626; }
@media (prefers-color-scheme: dark) { :root {
  --bg: #101215; --card: #191c21; --ink: #e9eaec; --soft: #9aa2af; --line: #2b2f37; --wash: #22262d;
  --t1: #f5a94a; --t2: #7aa5ff; --good: #5dd68a; --bad: #ff8080; --good-wash: #16301f; --bad-wash: #3a1b1d;
  --c0: #7aa5ff; --c1: #f5a94a; --c2: #3fd0a4; --c3: #e07bf0; --c4: #a3afc0; --c5: #ff8080; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 44px 24px 72px; }
h1 { font-size: 40px; line-height: 1.12; letter-spacing: -0.022em; margin: 4px 0 14px; text-wrap: balance; }
h2 { font-size: 23px; letter-spacing: -0.012em; margin: 56px 0 6px; }
section > h3 { margin: 26px 0 8px; }
h3 { font-size: 17px; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 12px; }
.kicker { color: var(--soft); font-size: 14px; letter-spacing: 0.04em; margin: 0; overflow-wrap: anywhere; }
.lead { max-width: 78ch; font-size: 17px; }
.note { color: var(--soft); font-size: 14.5px; max-width: 86ch; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 0 0 12px; list-style: none;
  color: var(--soft); font-size: 14px; }
.facts b { color: var(--ink); font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 15px; }
a { color: var(--t2); text-underline-offset: 3px; }
code, pre { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
.t1 { color: var(--t1); } .t2 { color: var(--t2); }

.hero { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 16px; margin: 26px 0 10px; }
.pair { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px; margin: 0; }
.pair div { display: grid; grid-template-columns: 1fr 20px 1fr; align-items: center; text-align: center;
  color: var(--soft); }
.pair figcaption { font-size: 14.5px; line-height: 1.4; margin-top: 10px; overflow-wrap: anywhere; }
.marks { white-space: nowrap; }
.image { width: 100%; aspect-ratio: 1; object-fit: contain; display: block; border-radius: 8px;
  background: var(--wash); }
.pixel { image-rendering: pixelated; }

.numbers { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 12px; margin: 30px 0 0; }
.number { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px 18px; }
.number span { display: block; color: var(--soft); font-size: 13.5px; line-height: 1.4; }
.number b { display: block; font-size: 30px; line-height: 1.25; letter-spacing: -0.02em; font-weight: 650;
  font-variant-numeric: tabular-nums; white-space: nowrap; }

.panel { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 6px 18px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 10px 12px 10px 0; border-bottom: 1px solid var(--line); font-weight: 400; }
.scroll { overflow-x: auto; }
.scroll th, .scroll td { min-width: 96px; overflow-wrap: anywhere; vertical-align: top; }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-size: 13.5px; }
tbody th { font-weight: 550; }
tr.sum > * { border-top: 2px solid var(--line); }
td.bar { width: 31%; }
td small { color: var(--soft); white-space: nowrap; }
.track { position: relative; display: block; height: 6px; border-radius: 3px; background: var(--wash);
  margin: 3px 0 4px; }
.track i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: currentColor; }
.track u { position: absolute; top: 8px; height: 5px; border: solid var(--soft); border-width: 0 1px 1px; }
.up { color: var(--good); } .down { color: var(--bad); }

.charts { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 14px; margin-top: 12px; }
.chart { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 12px 14px; }
.chart figcaption { font-size: 14px; font-weight: 600; margin-bottom: 4px; }
.chart svg { display: block; width: 100%; height: auto; }
.chart text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.chart path { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .line { stroke-width: 2; } .chart .raw { stroke-width: 1; opacity: 0.28; }
.chart .dashed { stroke-dasharray: 5 4; }
.chart path.c0 { stroke: var(--c0); } .chart path.c1 { stroke: var(--c1); } .chart path.c2 { stroke: var(--c2); }
.chart path.c3 { stroke: var(--c3); } .chart path.c4 { stroke: var(--c4); } .chart path.c5 { stroke: var(--c5); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0 14px; margin: 6px 0 0; padding: 0; font-size: 13px;
  color: var(--soft); }
.legend b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 5px; }
.legend i.dashed { height: 4px; border-radius: 0; margin-bottom: 3px; }
i.c0 { background: var(--c0); } i.c1 { background: var(--c1); } i.c2 { background: var(--c2); }
i.c3 { background: var(--c3); } i.c4 { background: var(--c4); } i.c5 { background: var(--c5); }

.card { background: var(--card); border: 1px solid var(--line); border-radius: 16px; padding: 20px 22px;
  margin-top: 16px; }
.card header { display: flex; flex-wrap: wrap; gap: 4px 12px; align-items: baseline; margin-bottom: 14px; }
.card header section > h3 { margin: 26px 0 8px; }
h3 { flex: 1 1 320px; font-size: 18px; line-height: 1.35; }
.tag { color: var(--soft); font-size: 13px; }
.flow { display: grid; gap: 24px; align-items: start;
  grid-template-columns: minmax(0, 0.8fr) 178px minmax(0, 1.75fr) 178px; }
.label { font-size: 12.5px; font-weight: 650; letter-spacing: 0.05em; text-transform: uppercase; margin: 0 0 6px; }
.thinking { font-size: 14.5px; line-height: 1.5; overflow-wrap: anywhere; }
.thinking p, .thinking ul, .thinking ol { margin: 0 0 8px; }
.thinking ul, .thinking ol { padding-left: 20px; }
.thinking h4 { font-size: 13.5px; margin: 12px 0 3px; }
.badge { display: inline-block; border-radius: 999px; padding: 2px 11px; font-size: 13.5px; font-weight: 600;
  background: var(--wash); color: var(--soft); margin-top: 9px; }
.badge.good { background: var(--good-wash); color: var(--good); }
.badge.bad { background: var(--bad-wash); color: var(--bad); }
.reasons { margin: 6px 0 0; padding: 0; list-style: none; font-size: 13px; line-height: 1.4; color: var(--soft);
  overflow-wrap: anywhere; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 12px 18px;
  margin-top: 14px; }
summary { cursor: pointer; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 12px 0 4px; }

@media (max-width: 980px) {
  .charts, .numbers { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .flow { grid-template-columns: minmax(0, 1fr) 178px; }
}
@media (max-width: 640px) {
  main { padding: 26px 15px 48px; }
  h1 { font-size: 31px; }
  h2 { margin-top: 42px; }
  .lead { font-size: 16px; }
  .hero { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 10px; }
  .pair { padding: 9px; border-radius: 12px; }
  .pair div { grid-template-columns: 1fr 14px 1fr; font-size: 12px; }
  .pair figcaption { font-size: 13px; margin-top: 7px; }
  .numbers { gap: 10px; }
  .number { padding: 11px 13px; }
  .number b { font-size: 21px; }
  .panel { padding: 2px 13px; }
  th, td { padding: 9px 8px 9px 0; font-size: 14px; }
  td.bar { width: 26%; }
  td small { display: block; }
  .charts { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 15px; }
  .flow { grid-template-columns: minmax(0, 1fr); gap: 14px; }
  .result { display: grid; grid-template-columns: 150px minmax(0, 1fr); gap: 0 14px; align-items: start; }
  .result .label { grid-column: 1 / -1; }
  .result .badge { margin-top: 0; }
}
"""
