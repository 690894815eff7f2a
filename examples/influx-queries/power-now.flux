// bucket: power_metrics
start = 2025-10-10T00:00:00Z
stop = 2025-10-10T03:00:00Z

from(bucket: "power_metrics")
  |> range(start: start, stop: stop)
  |> filter(fn: (r) => r._measurement == "energy" and r._field == "watts" and r.namespace !~ /^__/)
  |> group(columns: ["cluster", "namespace", "workload", "_time"])
  |> sum()
  |> group(columns: ["cluster", "namespace", "workload"])
  |> mean()
