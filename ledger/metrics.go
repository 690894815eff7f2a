package ledger

import "github.com/prometheus/client_golang/prometheus"

// memoryMetrics tells how much memory remembers. Values are read when asked.
type memoryMetrics struct {
	memory *memory

	series, ignored, pods, holders, refused, over *prometheus.Desc
}

func newMemoryMetrics(m *memory) *memoryMetrics {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &memoryMetrics{
		memory:  m,
		series:  d("wattledger_series", "Accounts and facts that are known; max_series bounds them."),
		ignored: d("wattledger_ignored_series", "Series that are known to map nothing."),
		pods:    d("wattledger_directory_pods", "Pods that are known."),
		holders: d("wattledger_directory_holders", "Containers and VMs that are described."),
		refused: d("wattledger_directory_refused_total", "Facts refused because max_pods were known."),
		over:    d("wattledger_overflowing_labels", "Labels and annotations with more values than labels.max_values; the rest is __overflow__."),
	}
}

func (m *memoryMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m *memoryMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	series, ignored := m.memory.cache.Series()
	pods, holders, refused := m.memory.directory.Len()
	gauge(m.series, float64(series))
	gauge(m.ignored, float64(ignored))
	gauge(m.pods, float64(pods))
	gauge(m.holders, float64(holders))
	gauge(m.over, float64(len(m.memory.directory.Overflowing())))
	ch <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(refused))
}
