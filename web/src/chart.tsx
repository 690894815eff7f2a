import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import type { Costs, Cost } from './api'
import { figure, time, type Unit } from './format'
import { lang, theme, zone } from './state'
import { nameOf, t } from './parts'

const hues = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#8a7a00', '#7a5cc0']
const dashes = [[], [6, 3], [2, 2], [8, 3, 2, 3]]
const colour = (i: number, name: string) => (name === '__others__' || name === '__idle__' ? '#888888' : hues[i % hues.length]!)

type Series = { name: string; costs: (Cost | undefined)[] }

function seriesOf(c: Costs): Series[] {
  const all = c.groups.map(g => ({ name: g.name, costs: c.cost_analysis.map(e => e.groups.find(x => x.name === g.name)) as (Cost | undefined)[] }))
  if (c.others && (c.groups_total ?? 0) > c.groups.length) all.push({ name: '__others__', costs: c.cost_analysis.map(e => e.others) })
  return all
}

/** Stacked area over time, and its figures as a table. */
export function Chart(p: { costs: Costs; unit: Unit; onRange?: (from: number, to: number) => void }) {
  const box = useRef<HTMLDivElement>(null)
  const all = seriesOf(p.costs)
  const starts = p.costs.cost_analysis.map(e => e.hour ?? e.start ?? '')
  const dark = theme.value, tz = zone.value, words = lang.value
  useEffect(() => {
    const el = box.current
    if (!el || !starts.length) return
    const css = getComputedStyle(document.documentElement)
    const ink = css.getPropertyValue('--ink'), line = css.getPropertyValue('--line')
    const xs = starts.map(s => Date.parse(s) / 1000)
    let below: number[] = xs.map(() => 0)
    const stacked = all.map(s => (below = below.map((b, i) => b + (s.costs[i]?.[p.unit] ?? 0))))
    // The highest is drawn first, so that each lies before the one above it.
    const drawn = all.map((s, i) => ({ s, i })).reverse()
    const size = () => ({ width: Math.max(200, el.clientWidth), height: 260 })
    const plot = new uPlot({
      ...size(), legend: { show: false }, cursor: { drag: { x: !!p.onRange, y: false } },
      scales: { x: { time: true }, y: { range: (_, lo, hi) => [Math.min(0, lo), hi || 1] } },
      tzDate: ts => uPlot.tzDate(new Date(ts * 1000), tz),
      axes: [
        { stroke: ink, grid: { stroke: line }, ticks: { stroke: line }, values: (_, vs) => vs.map(v => time(new Date(v * 1000).toISOString())), space: 110 },
        { stroke: ink, grid: { stroke: line }, ticks: { stroke: line }, size: 84, values: (_, vs) => vs.map(v => figure({ ...p.costs.totals, [p.unit]: v }, p.unit)) },
      ],
      series: [{}, ...drawn.map(({ s, i }) => ({ label: nameOf(s.name), stroke: colour(i, s.name), fill: colour(i, s.name) + 'cc', dash: dashes[i % dashes.length]!, width: 1.5, points: { show: xs.length < 2 } }))],
      hooks: { setSelect: [u => { if (u.select.width > 8) p.onRange?.(u.posToVal(u.select.left, 'x'), u.posToVal(u.select.left + u.select.width, 'x')) }] },
    }, [xs, ...drawn.map(({ i }) => stacked[i]!)], el)
    const watch = new ResizeObserver(() => plot.setSize(size()))
    watch.observe(el)
    return () => { watch.disconnect(); plot.destroy() }
  }, [p.costs, p.unit, dark, tz, words])
  return <figure>
    <div ref={box} class="plot" role="img" aria-label={t().chart(t()[p.unit])} />
    <ul class="legend">{all.map((s, i) => <li key={s.name}><svg width="14" height="10" aria-hidden="true"><rect width="14" height="10" fill={colour(i, s.name)} /></svg>{nameOf(s.name)}</li>)}</ul>
    <details><summary>{t().table}</summary><div class="wide" tabIndex={0} role="region" aria-label={t().table}><table>
      <thead><tr><th scope="col">{t().at}</th>{all.map(s => <th scope="col" class="n" key={s.name}>{nameOf(s.name)}</th>)}<th scope="col" class="n">{t().total}</th></tr></thead>
      <tbody>{p.costs.cost_analysis.map((e, i) => <tr key={starts[i]}><th scope="row">{time(starts[i])}</th>{all.map(s => <td class="n" key={s.name}>{figure(s.costs[i], p.unit)}</td>)}<td class="n">{figure(e, p.unit)}</td></tr>)}</tbody>
    </table></div></details>
  </figure>
}
