package decode

import (
	"slices"
	"strings"

	"github.com/wattledger/wattledger/receiver/metric"
	"github.com/zeebo/xxh3"
)

// Confine makes q one of a sender that may write the series of some clusters
// only. Its series have keys of their own: the cache knows by a key what became
// of a series, and that is not the same for senders of other clusters.
func (d *Decoder) Confine(q *Request, clusters []string) {
	q.clusters, q.space = clusters, 0
	if clusters != nil {
		q.space = xxh3.HashStringSeed(strings.Join(clusters, "\x00"), d.seedV1)
	}
}

// claim reports whether the series of a mapping may be taken from this sender.
// If that has one cluster only, it is the cluster of series that name none.
func (q *Request) claim(m *metric.Mapping) bool {
	switch {
	case q.clusters == nil:
		return true
	case m.Unnamed && len(q.clusters) == 1:
		m.Holder.Cluster = q.clusters[0]
		return true
	case slices.Contains(q.clusters, m.Holder.Cluster):
		return true
	}
	if q.Tally.otherCluster == "" {
		q.Tally.otherCluster = m.Holder.Cluster
	}
	return false
}
