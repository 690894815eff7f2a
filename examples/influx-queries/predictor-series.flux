// bucket: power_metrics
start = 2025-10-10T00:00:00Z
stop = 2025-10-10T03:00:00Z
namespace = "shop"
workload = "front end"

from(bucket: "power_metrics")
  |> range(start: start, stop: stop)
  |> filter(fn: (r) => r._measurement == "energy" and r._field == "energy_uj" and r.namespace == namespace and r.workload == workload)
  |> group()
  |> window(every: 5m)
  |> sum()
  |> map(fn: (r) => ({_time: r._start, watts: float(v: r._value) / 1000000.0 / 300.0}))
