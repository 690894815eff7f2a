package report

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wattledger/wattledger/power"
	"github.com/wattledger/wattledger/store"
)

// A Workload is what one workload used, and which of its containers.
type Workload struct {
	Answer
	Containers []Container // by falling energy
}

// A Container is what one container of a workload used.
type Container struct {
	Node, Pod, Container, ID string
	Figure
}

// Workload answers for one workload, step by step.
func (r *Reports) Workload(ctx context.Context, w power.Workload, steps []Step, now time.Time) (Workload, error) {
	match := map[store.Dimension]string{
		store.Cluster: w.Cluster, store.Namespace: w.Namespace,
		store.WorkloadKind: strings.ToLower(w.Kind), store.Workload: w.Name,
	}
	q := Question{Steps: steps, Now: now, Match: match}
	answer, err := r.Costs(ctx, q)
	if err != nil {
		return Workload{}, fmt.Errorf("%s: %w", w.ID(), err)
	}
	// One step for the whole range.
	last := steps[len(steps)-1]
	whole := []Step{{StartMs: steps[0].FromMs, FromMs: steps[0].FromMs, ToMs: last.ToMs, EndMs: last.EndMs}}
	rows, err := r.sum(ctx, store.Query{Match: match, GroupBy: []store.Dimension{store.Node, store.Pod, store.Container, store.ContainerID}}, whole, now)
	if err != nil {
		return Workload{}, fmt.Errorf("%s by container: %w", w.ID(), err)
	}
	return Workload{answer, containers(w.Namespace, rows, answer.Total.Coverage)}, nil
}

func containers(namespace string, rows []store.Row, coverage float64) []Container {
	at := map[string]int{} // of a container in the list
	var list []Container
	for _, row := range rows {
		g := row.Group
		key := strings.Join(g, "\x00")
		i, known := at[key]
		if !known {
			i, at[key] = len(list), len(list)
			list = append(list, Container{g[0], g[1], g[2], g[3], Figure{Coverage: coverage}})
		}
		list[i].Add(amountOf(namespace, row))
	}
	slices.SortStableFunc(list, func(a, b Container) int {
		return cmp.Or(cmp.Compare(b.Energy().Total(), a.Energy().Total()),
			strings.Compare(a.Pod+":"+a.Container+":"+a.ID, b.Pod+":"+b.Container+":"+b.ID))
	})
	return list
}
