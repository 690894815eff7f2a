import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import '@preact/signals'
import './style.css'
import { CostsView } from './costs'
import { units } from './format'
import { NodesView, Overview } from './overview'
import { Choice, Link, t } from './parts'
import { About, Sources } from './sources'
import { href, lang, place, theme, token, unit, views, zone } from './state'

const shown = { overview: Overview, costs: CostsView, nodes: NodesView, sources: Sources, about: About }
const here = Intl.DateTimeFormat().resolvedOptions().timeZone

function App() {
  const view = place.value.view
  const View = shown[view]
  useEffect(() => { document.title = `${t()[view]} · Wattledger` }, [view, lang.value])
  return <>
    <a class="skip" href="#main" onClick={e => { e.preventDefault(); document.getElementById('main')?.focus() }}>{t().skip}</a>
    <header>
      <span class="brand">Wattledger</span>
      <nav aria-label={t().views}>{views.map(v => <Link key={v} to={href(v)} current={v === view}>{t()[v]}</Link>)}</nav>
      <div class="settings">
        <Choice label={t().show} value={unit.value} of={units.map(u => [u as string, t()[u]] as const)} onChange={v => { unit.value = v }} />
        <Choice label={t().zone} value={zone.value} of={[...new Set(['UTC', here, zone.value])].map(z => [z, z] as const)} onChange={v => { zone.value = v }} />
        <Choice label={t().language} value={lang.value} of={[['en', 'English'], ['ko', '한국어']]} onChange={v => { lang.value = v }} />
        <Choice label={t().theme} value={theme.value} of={[['system', t().system_theme], ['light', t().light], ['dark', t().dark]]} onChange={v => { theme.value = v }} />
        {token.value && <button onClick={() => { token.value = '' }}>{t().forget}</button>}
      </div>
    </header>
    <main id="main" tabIndex={-1}><View /></main>
  </>
}

addEventListener('keydown', e => {
  const typing = e.target instanceof HTMLInputElement || e.target instanceof HTMLSelectElement
  if (e.key === '/' && !typing) {
    e.preventDefault()
    document.getElementById('search')?.focus()
  }
})

render(<App />, document.getElementById('app')!)
