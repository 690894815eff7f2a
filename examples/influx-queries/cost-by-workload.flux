// bucket: power_metrics_hourly
start = 2025-10-10T00:00:00Z
stop = 2025-10-10T03:00:00Z

from(bucket: "power_metrics_hourly")
  |> range(start: start, stop: stop)
  |> filter(fn: (r) => r._measurement == "energy" and r._field == "cost_nano" and r.namespace !~ /^__/)
  |> group(columns: ["cluster", "namespace", "workload"])
  |> sum()
  |> map(fn: (r) => ({cluster: r.cluster, namespace: r.namespace, workload: r.workload, cost: float(v: r._value) / 1000000000.0}))
  |> group()
  |> sort(columns: ["cost"], desc: true)
  |> limit(n: 10)
