import { useState } from 'preact/hooks'
import { address, useAnswer, type Senders, type Summary } from './api'
import { block } from './block'
import { money, time } from './format'
import { Panel, Shown, t } from './parts'
import { root } from './state'

export function Sources() {
  const a = useAnswer<Senders>(address('debug/senders'), 10)
  return <><h1>{t().sources}</h1><Shown of={a}>{s => <>
    {s.senders?.length ? <Panel title={t().sources}><div class="wide" tabIndex={0} role="region" aria-label={t().sources}><table>
      <thead><tr><th scope="col">{t().sender}</th><th scope="col" class="n">{t().lag}</th><th scope="col" class="n">{t().samples}</th><th scope="col">{t().usable}</th><th scope="col">{t().seen}</th></tr></thead>
      <tbody>{s.senders.map(x => <tr key={x.sender}><th scope="row">{x.sender}{x.suggested_fixes?.map(f => <p class="hint" key={f}>{f}</p>)}</th><td class="n">{x.lag_seconds.toFixed(1)} s</td><td class="n">{x.samples.toLocaleString()}</td><td>{x.delivers_usable_series ? t().yes : t().no}</td><td>{time(x.last_request)}</td></tr>)}</tbody>
    </table></div></Panel> : <Panel title={t().nothing_yet} note={t().paste}><Block /></Panel>}
    <Panel title={t().findings}>{s.findings?.length ? <ul class="findings">{s.findings.map(f => <li key={f.node + f.finding}><b>{f.cluster} / {f.node}</b> <code>{f.finding}</code><p>{t().cause}: {f.cause}</p><p>{t().fix}: {f.fix}</p></li>)}</ul> : <p class="state">{t().no_findings}</p>}</Panel>
  </>}</Shown></>
}

function Block() {
  const [done, set] = useState(false)
  return <><pre tabIndex={0}>{block()}</pre><button onClick={() => void navigator.clipboard.writeText(block()).then(() => set(true))}>{done ? t().copied : t().copy}</button></>
}

export function About() {
  const a = useAnswer<Summary>(address('cost/summary'))
  return <><h1>{t().about}</h1>
    <Panel title={t().model}><p>{t().model_text}</p><Shown of={a}>{s => <>
      {s.default_prices && <p class="hint">{t().default_prices}</p>}
      <dl><dt>{t().cost_model}</dt><dd>{s.cost_model ?? t().varies}</dd><dt>{t().pue}</dt><dd>{s.implied_pue ?? t().varies}</dd><dt>{t().intensity}</dt><dd>{s.implied_carbon_kg_per_kwh ?? t().varies} kg</dd>
        <dt>{t().per_hour}</dt><dd>{money(s.per_hour.total_cost, s.per_hour.currency)}</dd></dl></>}</Shown></Panel>
    <Panel title={t().glossary}><dl>
      <dt>{t().idle}</dt><dd>{t().idle_text}</dd><dt>{t().host}</dt><dd>{t().system_text}</dd><dt>{t().unattributed}</dt><dd>{t().unattributed_text}</dd><dt>{t().unassigned}</dt><dd>{t().unassigned_text}</dd><dt>{t().coverage}</dt><dd>{t().seen_text}</dd><dt>— / 0</dt><dd>{t().unknown_text}</dd></dl>
      <p><a href={new URL('openapi.yaml', root).href}>{t().docs}</a></p></Panel></>
}
