// Every text of the page. Other languages have the type of this one, so that a
// text that is missing fails the build.
export const en = {
  overview: 'Overview', costs: 'Costs', nodes: 'Nodes', sources: 'Sources', about: 'About these numbers',
  skip: 'Skip to the content', views: 'Views', language: 'Language', theme: 'Theme', system_theme: 'System', light: 'Light', dark: 'Dark',
  zone: 'Time zone', local: 'This device', show: 'Show', total_cost: 'Cost', energy_kwh: 'Energy', carbon_kg: 'Carbon',
  now: 'Now', per_hour: 'per hour, at the power of the last five minutes', today: 'Today', month: 'This month', before: 'before', no_before: 'nothing is known of the period before',
  carbon_month: 'Carbon this month', default_prices: 'These are built-in prices: nobody has set one yet. Set your own under transform.cost in the configuration file.',
  by_namespace: 'Last 24 hours by namespace', movers: 'Who changed most', movers_note: 'today against yesterday up to the same time', rest: 'What no workload used',
  group: 'Group by', period: 'Period', compare: 'Compare with the period before', search: 'Search names', name: 'Name', share: 'Share', change: 'Change', coverage: 'Seen', idle_part: 'of it idle',
  yesterday: 'Yesterday', week: 'This week', lastweek: 'Last week', lastmonth: 'Last month', last24: 'Last 24 hours', last7: 'Last 7 days', last30: 'Last 30 days', custom: 'From – to', from: 'From', to: 'To',
  csv: 'CSV', api: 'API call', others: 'All others', total: 'Total', previous: 'Previous', next: 'Next', rows: (a: string, b: string, n: string) => `${a}–${b} of ${n}`,
  all: 'All', path: 'Path', cluster: 'Cluster', node: 'Node', namespace: 'Namespace', workload: 'Workload', workload_type: 'Type', pod: 'Pod', container: 'Container', team: 'Team', app: 'App',
  loading: 'Loading…', nothing: 'Nothing in the books for this question.', widen: 'Choose a longer period or remove a filter.', remove: 'Remove all filters',
  failed: 'This could not be answered.', retry: 'Try again', request: 'Request', stale: 'Shown is the last answer.', partial: 'Part of this time was not seen: the figures hold for what was.',
  token_needed: 'This server wants a token of scope read.', token_refused: 'This token may not see this.', token: 'Token', use: 'Use it', token_note: 'It is kept until this tab is closed.', forget: 'Forget token',
  table: 'Figures of this chart', at: 'Time', chart: (n: string) => `Chart of ${n} over time; its figures are in the table below`,
  watts: 'Power', used: 'Containers and VMs', host: 'System', idle: 'Idle', unattributed: 'Unattributed', closes: 'Books close', yes: 'Yes', no: 'No', generation: 'Exporter', seen: 'Last seen', no_nodes: 'No node reported in the last 15 minutes.', nodes_note: 'Energy of the newest minute. The parts add up to what the node used, to the microjoule.',
  gpu: 'GPU', sender: 'Sender', lag: 'Lag', samples: 'Samples', usable: 'Energy series', findings: 'Findings', cause: 'Cause', fix: 'What to do', no_findings: 'No findings: everything that arrives adds up.',
  nothing_yet: 'Nothing has arrived yet', paste: 'Add this to the configuration of your Prometheus. The page shows the first figures a minute after it was reloaded.', copy: 'Copy', copied: 'Copied',
  model: 'How a cost is made', model_text: 'Energy is taken from counters on each node, minute by minute, in whole microjoules, and shared out over what ran there. Electricity, cooling and carbon are priced at the end; the total is their sum.',
  cost_model: 'Cost model', pue: 'Cooling and overhead, as PUE', intensity: 'Carbon per kWh', glossary: 'Words', varies: 'varies',
  idle_text: 'What nodes draw when they do nothing. It belongs to no workload unless you share it.', system_text: 'Processes of the hosts outside containers.', unattributed_text: 'Energy the node measured and no counter explains. It may be negative.',
  unassigned: 'Without a name', unassigned_text: 'Energy of pods without a value for this label or dimension.', seen_text: 'The share of the time in which the nodes were seen. Below 100 % the figures hold for what was seen; they are not scaled up.',
  unknown_text: '— means unknown. 0 means known to be nothing.', docs: 'Description of the API',
}
export type Texts = typeof en
