import { useEffect, useState } from 'preact/hooks'
import type { ComponentChild } from 'preact'
import { address, fetchText, useAnswer, type Cost, type Costs, type Dimensions } from './api'
import { change, figure, percent, span, type Unit } from './format'
import { changed, go, place, token, unit, zone } from './state'
import { Chart } from './chart'
import { share } from './overview'
import { Choice, isOwn, Link, nameOf, Nothing, Panel, Shown, t } from './parts'

// A click on a name narrows to it and groups one level lower.
const filters = ['cluster', 'node', 'namespace', 'workload_type', 'workload', 'pod', 'team', 'app'] as const
const below: Record<string, string> = { cluster: 'namespace', node: 'workload', namespace: 'workload', workload_type: 'workload', workload: 'pod', pod: 'container', team: 'workload', app: 'workload' }
const pageSize = 50

const words = ['now-24h', 'today', 'yesterday', 'week', 'lastweek', 'month', 'lastmonth', 'now-7d', 'now-30d'] as const
const hourly = (start: string) => ['now-24h', 'today', 'yesterday'].includes(start)

function useQuestion() {
  const q = (name: string, otherwise = '') => place.value.params.get(name) ?? otherwise
  const by = q('by', 'namespace'), start = q('start', 'now-24h'), end = q('end')
  const short = end ? Date.parse(end) - Date.parse(start) <= 3 * 86400e3 : hourly(start)
  const params: Record<string, string> = { start, end, tz: zone.value, aggregate: by }
  for (const f of filters) params[f] = q(f)
  return { q, by, start, end, route: short ? 'cost/hourly' : 'cost/daily', params }
}

export function CostsView() {
  const { q, by, start, end, route, params } = useQuestion()
  const u = unit.value as Unit
  const offset = Number(q('offset', '0')), search = q('search'), sort = q('sort', u), order = q('order', sort === 'name' ? 'asc' : 'desc')
  const listed = { ...params, search, sort, order, limit: String(pageSize), offset: offset ? String(offset) : '', compare: q('compare') }
  const rows = useAnswer<Costs>(address(route, listed), 60)
  const top = useAnswer<Costs>(address(route, { ...params, search, sort: u, limit: '8' }), 60)
  const known = useAnswer<Dimensions>(address('dimensions', { limit: '1' }))
  const names = t() as unknown as Record<string, string>
  const groupings = (known.data?.dimensions ?? [{ name: by, kind: 'built_in' }]).map(d => d.name).filter(n => n !== 'container_id').map(n => [n, names[n] ?? n] as const)
  return <>
    <h1>{t().costs}</h1>
    <Crumbs q={q} by={by} />
    <div class="controls">
      <Choice label={t().group} value={by} of={groupings} onChange={v => go(changed({ by: v, offset: '' }))} />
      <Choice label={t().period} value={end ? 'custom' : start} of={[...words.map((w, i) => [w as string, [t().last24, t().today, t().yesterday, t().week, t().lastweek, t().month, t().lastmonth, t().last7, t().last30][i]!] as const), ['custom', t().custom] as const]}
        onChange={v => go(changed(v === 'custom' ? { start: day(-7), end: day(1), offset: '' } : { start: v, end: '', offset: '' }))} />
      {end && <>
        <label>{t().from} <input type="date" value={start.slice(0, 10)} onChange={e => go(changed({ start: e.currentTarget.value }))} /></label>
        <label>{t().to} <input type="date" value={end.slice(0, 10)} onChange={e => go(changed({ end: e.currentTarget.value }))} /></label></>}
      <Search value={search} />
      <label><input type="checkbox" checked={q('compare') !== ''} onChange={e => go(changed({ compare: e.currentTarget.checked ? 'previous' : '' }))} /> {t().compare}</label>
      <Csv url={address(route, { ...listed, format: 'csv' })} />
      <a href={address(route, listed)} target="_blank" rel="noreferrer">{t().api}</a>
    </div>
    <Shown of={top}>{c => (c.groups.length
      ? <Panel title={names[by] ?? by} note={span(c.period)}>{c.totals.coverage < 0.98 && <p class="hint">{t().partial} {t().coverage} {percent(c.totals.coverage)}</p>}
        <Chart costs={c} unit={u} onRange={(a, b) => go(changed({ start: iso(a), end: iso(b), offset: '' }))} /></Panel>
      : <Nothing view="costs" />)}</Shown>
    <Shown of={rows}>{c => <Rows costs={c} by={by} u={u} sort={sort} order={order} offset={offset} />}</Shown>
  </>
}

const iso = (s: number) => new Date(Math.round(s / 60) * 60e3).toISOString().slice(0, 16) + 'Z'
const day = (n: number) => new Date(Date.now() + n * 86400e3).toISOString().slice(0, 10)

function Crumbs(p: { q: (n: string) => string; by: string }) {
  const set = filters.filter(f => p.q(f))
  const keep = (until: number) => {
    const c: Record<string, string> = { by: set[until] ? below[set[until]!]! : 'cluster', offset: '', search: '' }
    set.slice(until + 1).forEach(f => { c[f] = '' })
    return changed(c)
  }
  return <nav class="crumbs" aria-label={t().path}><ol>
    <li>{set.length ? <Link to={keep(-1)}>{t().all}</Link> : t().all}</li>
    {set.map((f, i) => <li key={f}><span class="note">{(t() as unknown as Record<string, string>)[f]}</span> {i < set.length - 1 ? <Link to={keep(i)}>{p.q(f)}</Link> : p.q(f)}</li>)}
  </ol></nav>
}

function Search(p: { value: string }) {
  const [text, set] = useState(p.value)
  useEffect(() => set(p.value), [p.value])
  useEffect(() => {
    if (text === p.value) return
    const wait = setTimeout(() => go(changed({ search: text, offset: '' }), true), 250)
    return () => clearTimeout(wait)
  }, [text])
  return <label>{t().search} <input id="search" type="search" value={text} onInput={e => set(e.currentTarget.value)} /></label>
}

/** A link, and where a token is needed, which links cannot show, a download. */
function Csv(p: { url: string }) {
  return <a href={p.url} download="costs.csv" onClick={async e => {
    if (!token.value) return
    e.preventDefault()
    const a = document.createElement('a')
    a.href = URL.createObjectURL(new Blob([await fetchText(p.url)], { type: 'text/csv' }))
    a.download = 'costs.csv'
    a.click()
    URL.revokeObjectURL(a.href)
  }}>{t().csv}</a>
}

function Rows(p: { costs: Costs; by: string; u: Unit; sort: string; order: string; offset: number }) {
  const { costs: c, by, u } = p
  const before = new Map(c.previous?.groups.map(g => [g.name, g as Cost]))
  const found = c.groups_total ?? c.groups.length
  const largest = Math.max(...c.groups.map(g => Math.abs(g[u] ?? 0)), 1e-12)
  const head = (key: string, title: string) => {
    const on = p.sort === key
    return <th scope="col" class={key === 'name' ? '' : key === 'total_cost' ? 'n' : 'n more'} aria-sort={on ? (p.order === 'asc' ? 'ascending' : 'descending') : 'none'}>
      <button class="sort" onClick={() => go(changed({ sort: key, order: on ? (p.order === 'asc' ? 'desc' : 'asc') : '', offset: '' }))}>{title}{on ? (p.order === 'asc' ? ' ↑' : ' ↓') : ''}</button></th>
  }
  const lower = below[by]
  const drill = (name: string) => (lower && !isOwn(name) ? <Link to={changed({ [by]: name, by: lower, offset: '', search: '' })}>{name}</Link> : nameOf(name))
  const row = (name: string, cell: ComponentChild, g: Cost, was?: Cost) => <tr key={name}><th scope="row">{cell}<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true"><rect width={Math.min(100, (100 * Math.abs(g[u] ?? 0)) / largest)} height="4" /></svg></th>
    <td class="n">{figure(g, 'total_cost')}</td><td class="n more">{figure(g, 'energy_kwh')}</td><td class="n more">{figure(g, 'carbon_kg')}</td><td class="n">{share(g[u], c.totals[u])}</td>{c.previous && <td class="n">{change(g[u], was?.[u])}</td>}</tr>
  return <Panel title={t().total + ' ' + figure(c.totals, u)} note={c.previous ? `${t().before}: ${span(c.previous.period)}` : ''}>
    <div class="wide" tabIndex={0} role="region" aria-label={t().costs}><table id="rows" aria-rowcount={found}><thead><tr>
      {head('name', t().name)}{head('total_cost', t().total_cost)}{head('energy_kwh', t().energy_kwh)}
      {head('carbon_kg', t().carbon_kg)}<th scope="col" class="n">{t().share}</th>{c.previous && <th scope="col" class="n">{t().change}</th>}
    </tr></thead><tbody>
      {c.groups.map(g => row(g.name, drill(g.name), g, before.get(g.name)))}
      {c.others && found > c.groups.length && row('__others__', t().others, c.others)}
      {row('total', <b>{t().total}</b>, c.totals, c.previous?.totals)}
    </tbody></table></div>
    {found > pageSize && <p class="pages">
      <button disabled={p.offset === 0} onClick={() => go(changed({ offset: p.offset > pageSize ? String(p.offset - pageSize) : '' }))}>{t().previous}</button>
      <span>{t().rows(String(p.offset + 1), String(p.offset + c.groups.length), String(found))}</span>
      <button disabled={p.offset + pageSize >= found} onClick={() => go(changed({ offset: String(p.offset + pageSize) }))}>{t().next}</button></p>}
  </Panel>
}
