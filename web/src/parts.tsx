import { useState } from 'preact/hooks'
import type { ComponentChildren } from 'preact'
import { Refused, type Answer } from './api'
import { en, type Texts } from './en'
import { ko } from './ko'
import { go, href, lang, token, type View } from './state'

export const t = (): Texts => (lang.value === 'ko' ? ko : en)

/** What the books call groups without a name of their own, in words. */
export function nameOf(name: string): string {
  const words: Record<string, string> = { '': t().unassigned, __idle__: t().idle, __system__: t().host, __unattributed__: t().unattributed, __unassigned__: t().unassigned, __others__: t().others }
  return words[name] ?? name
}
export const isOwn = (name: string) => /^__.*__$/.test(name)

export function Link(p: { to: string; children: ComponentChildren; current?: boolean; class?: string }) {
  return <a href={p.to} class={p.class} aria-current={p.current ? 'page' : undefined} onClick={e => {
    if (e.ctrlKey || e.metaKey || e.shiftKey || e.button) return
    e.preventDefault()
    go(p.to)
  }}>{p.children}</a>
}

export function Panel(p: { title: string; note?: string; children: ComponentChildren }) {
  return <section class="panel"><h2>{p.title}</h2>{p.note && <p class="note">{p.note}</p>}{p.children}</section>
}

function TokenEntry(p: { text: string }) {
  const [value, set] = useState('')
  return <form class="state" onSubmit={e => { e.preventDefault(); token.value = value.trim() }}>
    <p>{p.text}</p>
    <label>{t().token} <input type="password" autocomplete="off" value={value} onInput={e => set(e.currentTarget.value)} /></label>{' '}
    <button>{t().use}</button>
    <p class="note">{t().token_note}</p>
  </form>
}

/** Shows an answer, or why there is none. */
export function Shown<T>(p: { of: Answer<T>; children: (data: T) => ComponentChildren }) {
  const { data, error, loading, retry } = p.of
  if (error instanceof Refused && (error.status === 401 || error.status === 403))
    return <TokenEntry text={error.status === 401 ? t().token_needed : t().token_refused} />
  if (error) {
    const failure = <div class="state error" role="alert">
      <p><b>{t().failed}</b> {error.message}</p>
      {error instanceof Refused && error.id && <p class="note">{t().request} {error.id}</p>}
      {data && <p>{t().stale}</p>}
      <button onClick={retry}>{t().retry}</button>
    </div>
    return <>{failure}{data && p.children(data)}</>
  }
  if (!data) return <div class="state skeleton" role="status">{t().loading}</div>
  return <div class={loading ? 'again' : ''} aria-busy={loading}>{p.children(data)}</div>
}

export function Nothing(p: { view?: View }) {
  return <div class="state"><p><b>{t().nothing}</b></p><p>{t().widen}</p>{p.view && <Link to={href(p.view)}>{t().remove}</Link>}</div>
}

export function Choice<T extends string>(p: { label: string; value: T; of: readonly (readonly [T, string])[]; onChange: (v: T) => void }) {
  return <label>{p.label} <select value={p.value} onChange={e => p.onChange(e.currentTarget.value as T)}>
    {p.of.map(([v, name]) => <option key={v} value={v} selected={v === p.value}>{name}</option>)}
  </select></label>
}
