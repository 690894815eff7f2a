import { lang, zone } from './state'
import type { Cost, Num } from './api'

const none = '—'
const locale = () => (lang.value === 'ko' ? 'ko-KR' : 'en-US')

function digits(v: number, most: number): string {
  const n = Math.abs(v) < 0.5 * 10 ** -most ? 0 : v
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: most, minimumFractionDigits: most }).format(n)
}

/** Three significant digits with the step of unit that fits. */
function stepped(v: Num | undefined, steps: [number, string][]): string {
  if (v == null) return none
  const size = Math.abs(v)
  const [of, name] = steps.find(s => size >= s[0]) ?? (size === 0 ? steps[steps.length - 2]! : steps[steps.length - 1]!)
  const x = v / of
  return digits(x, Math.abs(x) >= 100 || x === 0 ? 0 : Math.abs(x) >= 10 ? 1 : 2) + ' ' + name
}

export const watts = (v: Num | undefined) => stepped(v, [[1e6, 'MW'], [1e3, 'kW'], [1, 'W'], [1e-3, 'mW']])
export const kwh = (v: Num | undefined) => stepped(v, [[1e3, 'MWh'], [1, 'kWh'], [1e-3, 'Wh']])
export const kg = (v: Num | undefined) => stepped(v, [[1e3, 't'], [1, 'kg'], [1e-3, 'g']]) + (v == null ? '' : ' CO2e')
export const percent = (v: Num | undefined) => (v == null || !isFinite(v) ? none : digits(100 * v, 1) + ' %')

export function money(v: Num | undefined, currency: string): string {
  if (v == null) return none
  const f = (most?: number) => new Intl.NumberFormat(locale(), { style: 'currency', currency: currency || 'USD', ...(most === undefined ? {} : { maximumFractionDigits: most, minimumFractionDigits: most }) })
  const own = f().resolvedOptions().maximumFractionDigits ?? 2
  const most = own > 0 && Math.abs(v) < 1 ? 4 : own
  return f(most).format(Math.abs(v) < 0.5 * 10 ** -most ? 0 : v)
}

export type Unit = 'total_cost' | 'energy_kwh' | 'carbon_kg'
export const units: Unit[] = ['total_cost', 'energy_kwh', 'carbon_kg']
export function figure(c: Cost | undefined, u: Unit): string {
  if (!c) return none
  return u === 'total_cost' ? money(c.total_cost, c.currency) : u === 'energy_kwh' ? kwh(c.energy_kwh) : kg(c.carbon_kg)
}
export const change = (now: Num | undefined, before: Num | undefined) =>
  now == null || !before ? none : (now >= before ? '+' : '') + percent(now / before - 1)

export function time(iso: string | undefined | null, style: 'minute' | 'hour' | 'day' = 'minute'): string {
  if (!iso) return none
  return new Intl.DateTimeFormat(locale(), {
    timeZone: zone.value, month: 'short', day: 'numeric',
    ...(style === 'day' ? {} : { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' as const }),
  }).format(new Date(iso))
}
export const span = (p: string) => p.split(' to ').map(s => time(s)).join(' – ')
