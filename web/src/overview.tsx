import { address, useAnswer, type Costs, type Head, type Nodes, type Num, type Summary } from './api'
import { change, figure, kg, money, percent, watts, type Unit } from './format'
import { href, unit, zone } from './state'
import { Chart } from './chart'
import { isOwn, Link, nameOf, Nothing, Panel, Shown, t } from './parts'

function Tile(p: { title: string; value: string; note: string }) {
  return <div class="tile"><h2>{p.title}</h2><b>{p.value}</b><p class="note">{p.note}</p></div>
}

const against = (h: Head, u: Unit) => (h.previous_totals[u] == null ? t().no_before : `${change(h.totals[u], h.previous_totals[u])} ${t().before}`)

export function Overview() {
  const u = unit.value as Unit
  const summary = useAnswer<Summary>(address('cost/summary', { tz: zone.value }), 10)
  const day = useAnswer<Costs>(address('cost/hourly', { start: 'now-24h', aggregate: 'namespace', sort: u, limit: '8', tz: zone.value }), 60)
  const today = useAnswer<Costs>(address('cost/daily', { start: 'today', end: 'now', aggregate: 'namespace', sort: u, limit: '20', compare: 'previous', tz: zone.value }), 60)
  return <>
    <h1>{t().overview}</h1>
    <Shown of={summary}>{s => <>
      {s.default_prices && <p class="hint">{t().default_prices} <Link to={href('about')}>{t().about}</Link></p>}
      <div class="tiles">
        {/* An hour at this power is so many kWh: the same number in kW. */}
        <Tile title={t().now} value={watts(s.per_hour.energy_kwh == null ? null : s.per_hour.energy_kwh * 1000)} note={`${money(s.per_hour.total_cost, s.per_hour.currency)} ${t().per_hour}`} />
        <Tile title={t().today} value={figure(s.today.totals, u)} note={against(s.today, u)} />
        <Tile title={t().month} value={figure(s.month.totals, u)} note={`${against(s.month, u)}. ${t().coverage} ${percent(s.month.totals.coverage)}`} />
        <Tile title={t().carbon_month} value={kg(s.month.totals.carbon_kg)} note={against(s.month, 'carbon_kg')} />
      </div></>}</Shown>
    <Panel title={t().by_namespace}><Shown of={day}>{c => (c.groups.length ? <Chart costs={c} unit={u} /> : <Nothing />)}</Shown></Panel>
    <div class="pair">
      <Panel title={t().movers} note={t().movers_note}><Shown of={today}>{c => <Movers costs={c} unit={u} />}</Shown></Panel>
      <Panel title={t().rest} note={t().today}><Shown of={today}>{c => <table><tbody>
        {c.groups.filter(g => isOwn(g.name)).map(g => <tr key={g.name}><th scope="row">{nameOf(g.name)}</th><td class="n">{figure(g, u)}</td><td class="n">{share(g[u], c.totals[u])}</td></tr>)}
      </tbody></table>}</Shown></Panel>
    </div>
  </>
}

export const share = (part: Num, whole: Num) => percent(part == null || !whole ? null : part / whole)

function Movers(p: { costs: Costs; unit: Unit }) {
  const before = new Map(p.costs.previous?.groups.map(g => [g.name, g[p.unit]]))
  const moved = p.costs.groups.map(g => ({ g, was: before.get(g.name) }))
    .sort((a, b) => Math.abs((b.g[p.unit] ?? 0) - (b.was ?? 0)) - Math.abs((a.g[p.unit] ?? 0) - (a.was ?? 0))).slice(0, 7)
  if (!moved.length) return <Nothing />
  return <table><thead><tr><th scope="col">{t().name}</th><th scope="col" class="n">{t().today}</th><th scope="col" class="n">{t().change}</th></tr></thead>
    <tbody>{moved.map(({ g, was }) => <tr key={g.name}><th scope="row">{isOwn(g.name) ? nameOf(g.name) : <Link to={href('costs', { namespace: g.name, by: 'workload' })}>{g.name}</Link>}</th><td class="n">{figure(g, p.unit)}</td><td class="n">{change(g[p.unit], was)}</td></tr>)}</tbody></table>
}

export function NodesView() {
  const nodes = useAnswer<Nodes>(address('power/nodes'), 10)
  return <><h1>{t().nodes}</h1><Panel title={t().nodes} note={t().nodes_note}><Shown of={nodes}>{a => (a.nodes.length ? <NodeTable nodes={a} /> : <p class="state">{t().no_nodes}</p>)}</Shown></Panel></>
}

function NodeTable(p: { nodes: Nodes }) {
  const rows = [...p.nodes.nodes].sort((a, b) => (b.power_watts ?? 0) - (a.power_watts ?? 0))
  return <div class="wide" tabIndex={0} role="region" aria-label={t().nodes}><table><thead><tr>
    {[t().node, t().watts, t().gpu, t().used, t().host, t().idle, t().unattributed, t().closes, t().generation].map((h, i) => <th scope="col" class={i && i < 7 ? 'n' : ''} key={h}>{h}</th>)}
  </tr></thead><tbody>{rows.map(n => {
    const d = n.identity
    const part = (j: number) => share(j, d.node_joules)
    return <tr key={n.cluster + n.node}><th scope="row"><Link to={href('costs', { cluster: n.cluster, node: n.node, by: 'workload' })}>{n.node}</Link> <span class="note">{n.cluster}</span></th>
      <td class="n">{watts(n.power_watts)}</td><td class="n">{watts(n.components.gpu_watts)}</td><td class="n">{part(d.containers_joules + d.vms_joules)}</td><td class="n">{part(d.system_joules)}</td>
      <td class="n">{part(d.idle_joules)}</td><td class="n">{part(d.unattributed_joules)}</td><td>{d.closes ? t().yes : t().no}</td><td>{n.generation}</td></tr>
  })}</tbody></table></div>
}
