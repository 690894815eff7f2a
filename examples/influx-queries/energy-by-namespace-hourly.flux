// bucket: power_metrics_hourly
start = 2025-10-10T00:00:00Z
stop = 2025-10-10T03:00:00Z

from(bucket: "power_metrics_hourly")
  |> range(start: start, stop: stop)
  |> filter(fn: (r) => r._measurement == "energy" and r._field == "energy_uj")
  |> group(columns: ["namespace", "_time"])
  |> sum()
  |> map(fn: (r) => ({namespace: r.namespace, _time: r._time, kwh: float(v: r._value) / 3600000000000.0}))
