package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/receiver"
	"github.com/wattledger/wattledger/receiver/counter"
	"github.com/wattledger/wattledger/transform"
)

// readiness tells whether the journal has been replayed, and how the followers are.
type readiness struct {
	replayed  atomic.Bool
	following *followers
	storage   *ledger.Inspector
	senders   *receiver.Handler
}

func (r *readiness) set() { r.replayed.Store(true) }

func (r *readiness) checks(context.Context) []httpapi.Check {
	c := httpapi.Check{Name: "replay", OK: r.replayed.Load(), Detail: "the journal has been replayed"}
	if !c.OK {
		c.Detail = "replaying the journal"
	}
	list := append(append([]httpapi.Check{c}, r.following.checks()...), damage(r.storage)...)
	for _, line := range r.senders.Advice() { // the books are right all the same
		list = append(list, httpapi.Check{Name: "senders", OK: true, Detail: "warning: " + line})
	}
	return list
}

// damage says in /-/ready that there is some. It is no reason to take no samples.
func damage(i *ledger.Inspector) []httpapi.Check {
	n := i.Findings()
	if n == 0 {
		return nil
	}
	return []httpapi.Check{{Name: "storage", OK: true, Detail: fmt.Sprintf("%d damaged places; wattledger verify names them, wattledger repair keeps what is good", n)}}
}

// quarantine answers with the newest samples that were set aside.
type quarantine struct{ cache *counter.Cache }

func (q quarantine) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	type sample struct {
		Cluster    string     `json:"cluster"`
		Node       string     `json:"node"`
		Kind       string     `json:"kind"`
		ID         string     `json:"id"`
		Component  string     `json:"component"`
		Zone       string     `json:"zone"`
		Reason     string     `json:"reason"`
		Time       time.Time  `json:"time"`
		Value      float64    `json:"value"` // in the series' own unit
		LastTime   *time.Time `json:"last_time"`
		LastJoules *float64   `json:"last_joules"`
	}
	list := []sample{}
	for _, x := range q.cache.Quarantine() {
		s := sample{
			Cluster: x.Holder.Cluster, Node: x.Holder.Node, Kind: x.Holder.Kind.String(), ID: x.Holder.ID,
			Component: x.Component.String(), Zone: x.Zone, Reason: x.Reason, Time: time.UnixMilli(x.TMs).UTC(), Value: x.Value,
		}
		if x.LastTMs != 0 {
			last := time.UnixMilli(x.LastTMs).UTC()
			s.LastTime, s.LastJoules = &last, &x.LastJoules
		}
		list = append(list, s)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"quarantine": list}) // an error here is the client's going away
}

// cacheMetrics tells how much the line remembers. Values are read when asked.
type cacheMetrics struct {
	cache     *counter.Cache
	directory *transform.Directory

	series, ignored, pods, holders, refused *prometheus.Desc
}

func newCacheMetrics(cache *counter.Cache, directory *transform.Directory) *cacheMetrics {
	d := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &cacheMetrics{
		cache: cache, directory: directory,
		series:  d("wattledger_series", "Accounts and facts that are known; max_series bounds them."),
		ignored: d("wattledger_ignored_series", "Series that are known to map nothing."),
		pods:    d("wattledger_directory_pods", "Pods that are known."),
		holders: d("wattledger_directory_holders", "Containers and VMs that are described."),
		refused: d("wattledger_directory_refused_total", "Facts refused because max_pods were known."),
	}
}

func (m *cacheMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

func (m *cacheMetrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	series, ignored := m.cache.Series()
	pods, holders, refused := m.directory.Len()
	gauge(m.series, float64(series))
	gauge(m.ignored, float64(ignored))
	gauge(m.pods, float64(pods))
	gauge(m.holders, float64(holders))
	ch <- prometheus.MustNewConstMetric(m.refused, prometheus.CounterValue, float64(refused))
}

// demo serves from an empty temporary store and feeds itself a simulated cluster.
func demo(ctx context.Context, cfg *configs.Config, logger *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "wattledger-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Storage.Path = dir
	cfg.Storage.FlushInterval = time.Second

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return run(ctx, cfg, logger, func(addr string) {
			_, port, _ := strings.Cut(addr[strings.LastIndex(addr, "]")+1:], ":")
			group.Go(func() error {
				logger.Info("demo: open the page", "url", "http://localhost:"+port+"/")
				return feedDemo(ctx, "http://127.0.0.1:"+port+"/api/v1/write", time.Now())
			})
		})
	})
	return group.Wait()
}
