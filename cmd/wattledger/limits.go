package main

import (
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/wattledger/wattledger/configs"
)

// registerLimits shows what alerts compare with: whether samples are taken, the
// bound of series, and the room of the storage path.
func registerLimits(cfg *configs.Config, ready *readiness, reg prometheus.Registerer) {
	f := promauto.With(reg)
	gauge := func(name, help string, value func() float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	gauge("wattledger_ready", "1 when the journal has been replayed and samples are taken.", func() float64 {
		if ready.replayed.Load() {
			return 1
		}
		return 0
	})
	gauge("wattledger_max_series", "accounting.max_series.", func() float64 { return float64(cfg.Accounting.MaxSeries) })
	room := func(of func(*syscall.Statfs_t) uint64) func() float64 {
		return func() float64 {
			var s syscall.Statfs_t
			if err := syscall.Statfs(cfg.Storage.Path, &s); err != nil {
				return -1
			}
			return float64(of(&s)) * float64(s.Bsize)
		}
	}
	gauge("wattledger_storage_free_bytes", "Room left on the device of the storage path; -1 when it cannot be told.", room(func(s *syscall.Statfs_t) uint64 { return s.Bavail }))
	gauge("wattledger_storage_size_bytes", "Size of the device of the storage path; -1 when it cannot be told.", room(func(s *syscall.Statfs_t) uint64 { return s.Blocks }))
}
