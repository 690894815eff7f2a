package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"net/url"
	"time"
)

// A cursor leads to the page after. It keeps the moment of the first page, so
// that all pages tell of the same stretch of time, and a fingerprint of the
// other parameters, so that it cannot be used with another question.
type cursor struct {
	ToMs  int64  `json:"t"`
	Query uint64 `json:"q"`
	Store string `json:"s"`
}

// fingerprint tells questions apart. The size of a page is no part of one.
func fingerprint(path string, values url.Values) uint64 {
	h := fnv.New64a()
	v := url.Values{}
	for name, vs := range values {
		if name != "cursor" && name != "limit" {
			v[name] = vs
		}
	}
	h.Write([]byte(path + "?" + v.Encode()))
	return h.Sum64()
}

func (c cursor) String() string {
	b, _ := json.Marshal(c) // two numbers and a string cannot go wrong
	return base64.RawURLEncoding.EncodeToString(b)
}

// page returns the store's cursor and the moment the first page was asked at.
func (q *query) page(path string) (from string, at time.Time) {
	s := q.text("cursor")
	if s == "" {
		return "", q.now
	}
	var c cursor
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil || c.Query != fingerprint(path, q.values) || c.ToMs <= 0 || c.ToMs > q.now.UnixMilli() {
		q.fail("cursor", "does not belong to this query; ask again without it")
		return "", q.now
	}
	return c.Store, time.UnixMilli(c.ToMs).UTC()
}

// next is the cursor of the page after, or nil on the last page.
func (q *query) next(path string, at time.Time, storeCursor string) *string {
	if storeCursor == "" {
		return nil
	}
	s := cursor{ToMs: at.UnixMilli(), Query: fingerprint(path, q.values), Store: storeCursor}.String()
	return &s
}
