package local

import (
	"cmp"
	"container/heap"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/wattledger/wattledger/store"
)

// less reports whether a comes before b.
func less(a, b *candidate, q *store.PowerQuery) bool {
	c := 0
	if q.By == store.ByPower {
		c = cmp.Compare(a.total, b.total)
		if !q.Ascending {
			c = -c
		}
		if c == 0 {
			return compareNames(a, b, q.ByContainer) < 0
		}
		return c < 0
	}
	c = compareNames(a, b, q.ByContainer)
	if !q.Ascending {
		c = -c
	}
	return c < 0
}

// A page takes the first rows after a cursor, one more than asked for if there
// are any.
type page struct {
	worst
	after *candidate
}

func newPage(q *store.PowerQuery, after *cursor) *page {
	p := &page{worst: worst{q: q}}
	if after != nil {
		p.after = &candidate{total: after.Watts, names: after.Names}
	}
	return p
}

func (p *page) offer(c candidate) {
	full := len(p.list) > p.q.Limit
	if full && !less(&c, &p.list[0], p.q) || p.after != nil && !less(p.after, &c, p.q) {
		return
	}
	if !full {
		heap.Push(p, c)
		return
	}
	p.list[0] = c
	heap.Fix(p, 0)
}

func (p *page) sorted() []candidate {
	slices.SortFunc(p.list, func(a, b candidate) int {
		switch {
		case less(&a, &b, p.q):
			return -1
		case less(&b, &a, p.q):
			return 1
		}
		return 0
	})
	return p.list
}

// worst is a heap with the last row of a page on top.
type worst struct {
	list []candidate
	q    *store.PowerQuery
}

func (h *worst) Len() int           { return len(h.list) }
func (h *worst) Less(i, j int) bool { return less(&h.list[j], &h.list[i], h.q) }
func (h *worst) Swap(i, j int)      { h.list[i], h.list[j] = h.list[j], h.list[i] }
func (h *worst) Push(x any)         { h.list = append(h.list, x.(candidate)) }
func (h *worst) Pop() any {
	x := h.list[len(h.list)-1]
	h.list = h.list[:len(h.list)-1]
	return x
}

// A cursor is where a page ended, and the query it belongs to.
type cursor struct {
	Query  uint64   `json:"q"`
	FromMs int64    `json:"f"`
	ToMs   int64    `json:"t"`
	Watts  float64  `json:"w"`
	Names  []string `json:"n"`
}

func cursorAfter(c candidate, q store.PowerQuery) string {
	names := make([]string, nameParts)
	for i := range names {
		names[i] = c.name(i, q.ByContainer)
	}
	b, err := json.Marshal(cursor{queryHash(q), q.FromMs, q.ToMs, c.total, names})
	if err != nil {
		return "" // power that is not a number cannot be
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func parseCursor(q store.PowerQuery) (*cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	if err != nil {
		return nil, store.ErrBadCursor
	}
	var c cursor
	if err := json.Unmarshal(b, &c); err != nil || c.Query != queryHash(q) {
		return nil, store.ErrBadCursor
	}
	return &c, nil
}

// queryHash is equal for queries whose rows and order are: the range and the
// page size may differ from page to page.
func queryHash(q store.PowerQuery) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %v %q", q.ByContainer, q.Ascending, q.By)
	for _, d := range store.Dimensions {
		if v, ok := q.Match[d]; ok {
			fmt.Fprintf(h, " %s=%q", d, v)
		}
	}
	return h.Sum64()
}
