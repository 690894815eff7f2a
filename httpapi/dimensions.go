package httpapi

import (
	"net/http"
	"slices"

	"github.com/wattledger/wattledger/store"
)

// A dimension is something costs can be grouped by and filtered on.
type dimension struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"` // built_in, configured, label or annotation
	Values      []string `json:"values,omitempty"`
	ValuesTotal int      `json:"values_total,omitempty"`
}

// GET /dimensions: what aggregate= takes, and the values that there are of labels,
// annotations and configured dimensions. Labels are named as kube-state-metrics
// names them, which is one of the forms that are taken.
func (a *api) dimensions(w http.ResponseWriter, r *http.Request) error {
	q := a.parse(r, "namespace", "workload", "cluster", "limit")
	match := q.match("namespace", "cluster", "workload")
	limit := q.count("limit", defaultPage, maxPage)
	if err := q.problem(); err != nil {
		return err
	}
	rows, err := a.books.Tags(r.Context(), match, limit)
	if err != nil {
		return err
	}
	list := []dimension{}
	for _, d := range store.Dimensions {
		list = append(list, dimension{Name: string(d), Kind: "built_in"})
	}
	at := func(d store.Dimension) *store.TagRow {
		i := slices.IndexFunc(rows, func(row store.TagRow) bool { return row.Dimension == d })
		if i < 0 {
			return &store.TagRow{}
		}
		return &rows[i]
	}
	for _, name := range a.cfg.Dimensions {
		row := at(store.Dimension(name))
		list = append(list, dimension{name, "configured", row.Values, row.Found})
	}
	for _, row := range rows {
		if row.Dimension.Configured() {
			continue // one that is no longer is not asked for
		}
		list = append(list, dimension{string(row.Dimension), row.Dimension.Kind(), row.Values, row.Found})
	}
	return writeJSON(w, r, struct {
		Dimensions []dimension `json:"dimensions"`
		Timestamp  stamp       `json:"timestamp"`
	}{list, stampOf(q.now)})
}
