import { useEffect, useState } from 'preact/hooks'
import { root, token } from './state'

export type Num = number | null
export type Cost = { energy_kwh: Num; idle_energy_kwh: Num; electricity_cost: Num; cooling_cost: Num; carbon_cost: Num; total_cost: Num; carbon_kg: Num; currency: string; coverage: number }
export type Group = Cost & { name: string }
export type Entry = Cost & { hour?: string; date?: string; start?: string; partial: boolean; groups: Group[]; others?: Cost }
export type Costs = {
  cost_analysis: Entry[]; totals: Cost; groups: Group[]; others?: Cost; groups_total?: number
  period: string; previous?: { period: string; totals: Cost; groups: Group[] }
}
export type Head = { period: string; totals: Cost; previous_totals: Cost }
export type Summary = { per_hour: Cost; today: Head; month: Head; default_prices: boolean; cost_model: string | null; implied_pue: Num; implied_carbon_kg_per_kwh: Num; currency: string; timestamp: string }
export type Node = {
  cluster: string; node: string; power_watts: Num; generation: string; observed_at: string | null
  components: { cpu_watts: Num; dram_watts: Num; gpu_watts: Num; other_watts: Num }
  identity: { window_start: string; node_joules: number; containers_joules: number; vms_joules: number; system_joules: number; idle_joules: number; unattributed_joules: number; closes: boolean }
}
export type Nodes = { nodes: Node[]; timestamp: string }
export type Sender = { sender: string; address: string; proto: string; last_request: string; lag_seconds: number; samples: number; delivers_usable_series: boolean; kepler_generations: string[] | null; suggested_fixes: string[] | null }
export type Finding = { cluster: string; node: string; finding: string; cause: string; fix: string; last: string }
export type Senders = { senders: Sender[] | null; findings: Finding[] | null }
export type Dimensions = { dimensions: { name: string; kind: string }[] }

export class Refused extends Error {
  constructor(readonly status: number, message: string, readonly id: string) { super(message) }
}

/** The address of a question, as somebody would ask it with curl. */
export function address(path: string, params: Record<string, string> = {}): string {
  const u = new URL(path, root)
  for (const [k, v] of Object.entries(params)) if (v) u.searchParams.set(k, v)
  return u.href
}

export async function fetchText(url: string, signal?: AbortSignal): Promise<string> {
  const headers: Record<string, string> = token.value ? { Authorization: 'Bearer ' + token.value } : {}
  const res = await fetch(url, { headers, signal: signal ?? null })
  const text = await res.text()
  if (res.ok) return text
  let detail = text.slice(0, 300)
  let id = res.headers.get('X-Request-Id') ?? ''
  try {
    const p = JSON.parse(text) as { detail?: string; request_id?: string }
    detail = p.detail ?? detail
    id = p.request_id ?? id
  } catch { /* a proxy's own words */ }
  throw new Refused(res.status, detail, id)
}

export type Answer<T> = { data?: T | undefined; error?: Error | undefined; loading: boolean; retry: () => void }

/** Asks url again every so many seconds, not while the page is hidden. What was shown stays until the next answer. */
export function useAnswer<T>(url: string, everySeconds = 0): Answer<T> {
  const [state, set] = useState<{ url: string; data?: T; error?: Error; loading: boolean }>({ url, loading: true })
  const [turn, again] = useState(0)
  const secret = token.value
  useEffect(() => {
    const stop = new AbortController()
    let timer = 0
    const ask = async () => {
      if (document.hidden) { timer = window.setTimeout(ask, 1000 * (everySeconds || 1)); return }
      try {
        const data = JSON.parse(await fetchText(url, stop.signal)) as T
        set({ url, data, loading: false })
      } catch (e) {
        if (stop.signal.aborted) return
        set(s => ({ ...s, url, error: e as Error, loading: false }))
      }
      if (everySeconds) timer = window.setTimeout(ask, 1000 * everySeconds)
    }
    set(s => ({ ...s, loading: true }))
    void ask()
    return () => { stop.abort(); clearTimeout(timer) }
  }, [url, turn, secret, everySeconds])
  return { data: state.data, error: state.error, loading: state.loading, retry: () => again(turn + 1) }
}
