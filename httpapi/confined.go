package httpapi

import (
	"context"
	"maps"
	"slices"

	"github.com/wattledger/wattledger/access"
	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// confined answers of the clusters that the grant of a request is confined to,
// and of nothing else. Every handler asks the books through it, so that none can
// forget to.
type confined struct{ books store.Querier }

var _ store.Querier = confined{}

// within narrows match to the clusters of the request's grant. It says false
// where nothing is left.
func within(ctx context.Context, match map[store.Dimension]string) (map[store.Dimension]string, bool) {
	clusters := access.From(ctx).Clusters()
	if clusters == nil {
		return match, true
	}
	narrow := map[store.Dimension]string{}
	maps.Copy(narrow, match)
	if asked, ok := match[store.Cluster]; ok {
		clusters = slices.DeleteFunc(slices.Clone(clusters), func(c string) bool { return !store.Matches(asked, c) })
		narrow[store.Cluster] = store.Any(clusters)
		return narrow, len(clusters) > 0
	}
	if len(clusters) == 1 {
		narrow[store.Cluster] = clusters[0] // which sums by namespace are kept for
	} else {
		narrow[store.AnyCluster] = store.Any(clusters)
	}
	return narrow, true
}

func (c confined) Sum(ctx context.Context, q store.Query) ([]store.Row, error) {
	match, some := within(ctx, q.Match)
	if !some {
		return nil, nil
	}
	q.Match = match
	return c.books.Sum(ctx, q)
}

func (c confined) Power(ctx context.Context, q store.PowerQuery) ([]store.PowerRow, string, error) {
	match, some := within(ctx, q.Match)
	if !some {
		return nil, "", nil
	}
	q.Match = match
	return c.books.Power(ctx, q)
}

func (c confined) Nodes(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]power.NodeWindow, error) {
	match, some := within(ctx, match)
	if !some {
		return nil, nil
	}
	return c.books.Nodes(ctx, fromMs, toMs, match)
}

func (c confined) Workloads(ctx context.Context, match map[store.Dimension]string, limit int) ([]store.WorkloadRow, error) {
	match, some := within(ctx, match)
	if !some {
		return nil, nil
	}
	return c.books.Workloads(ctx, match, limit)
}

func (c confined) Tags(ctx context.Context, match map[store.Dimension]string, limit int) ([]store.TagRow, error) {
	match, some := within(ctx, match)
	if !some {
		return nil, nil
	}
	return c.books.Tags(ctx, match, limit)
}

func (c confined) Profiles(ctx context.Context, fromMs, toMs int64, match map[store.Dimension]string) ([]store.ProfileRow, error) {
	match, some := within(ctx, match)
	if !some {
		return nil, nil
	}
	return c.books.Profiles(ctx, fromMs, toMs, match)
}
