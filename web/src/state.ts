import { signal } from '@preact/signals'

// Where the page lies, taken once: a base that is relative would move with the address.
export const ui = new URL(document.baseURI)
export const root = new URL('..', ui)

export const views = ['overview', 'costs', 'nodes', 'sources', 'about'] as const
export type View = (typeof views)[number]

export type Place = { view: View; params: URLSearchParams }

function read(): Place {
  const name = location.pathname.slice(ui.pathname.length)
  const view = views.find(v => v === name) ?? 'overview'
  return { view, params: new URLSearchParams(location.search) }
}

export const place = signal<Place>(read())
addEventListener('popstate', () => { place.value = read() })

export function href(view: View, params: Record<string, string | undefined> | URLSearchParams = {}): string {
  const p = params instanceof URLSearchParams ? params : new URLSearchParams(Object.entries(params).filter((e): e is [string, string] => !!e[1]))
  const s = p.toString()
  return ui.pathname + view + (s ? '?' + s : '')
}

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, '', to)
  else history.pushState(null, '', to)
  const before = place.value.view
  place.value = read()
  if (before !== place.value.view) scrollTo(0, 0)
}

/** The address of this view with some parameters changed; an empty value takes one away. */
export function changed(change: Record<string, string>): string {
  const p = new URLSearchParams(place.value.params)
  for (const [k, v] of Object.entries(change)) v ? p.set(k, v) : p.delete(k)
  return href(place.value.view, p)
}

function kept(key: string, first: string, store: Storage) {
  let was: string | null = null
  try { was = store.getItem(key) } catch { /* storage is refused: the choice holds until the page is left */ }
  const s = signal(was ?? first)
  s.subscribe(v => { try { store.setItem(key, v) } catch { /* as above */ } })
  return s
}

export const lang = kept('wattledger.lang', navigator.language.startsWith('ko') ? 'ko' : 'en', localStorage)
export const theme = kept('wattledger.theme', 'system', localStorage)
export const zone = kept('wattledger.tz', 'UTC', localStorage)
export const unit = kept('wattledger.unit', 'total_cost', localStorage)
// Forgotten with the tab.
export const token = kept('wattledger.token', '', sessionStorage)

theme.subscribe(v => { document.documentElement.dataset.theme = v })
lang.subscribe(v => { document.documentElement.lang = v })
