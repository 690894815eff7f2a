package httpapi

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wattledger/wattledger/opencost"
	"github.com/wattledger/wattledger/store"
)

// opencostRoutes are those that clients of OpenCost ask. Their answers and errors
// come in OpenCost's envelope.
func (a *api) opencostRoutes() (rs []route) {
	handlers := a.opencost.Routes()
	for _, path := range slices.Sorted(maps.Keys(handlers)) {
		h := handlers[path]
		rs = append(rs, route{path: path, books: true, envelope: true, get: func(w http.ResponseWriter, r *http.Request) error {
			answer, err := h(r.Context(), r)
			var wrong *opencost.Error
			switch {
			case errors.As(err, &wrong):
				return newProblem(wrong.Status, "opencost", "Not answered", wrong.Message)
			case errors.Is(err, store.ErrTooMany):
				return newProblem(http.StatusBadRequest, "opencost", "Too much at once", "the answer has too many rows; ask for a shorter window, longer steps or fewer parts")
			case err != nil:
				return err
			}
			if table, ok := answer.(opencost.CSV); ok {
				w.Header().Set("Content-Disposition", `attachment; filename="wattledger-allocation.csv"`)
				return writeBody(w, r, http.StatusOK, "text/csv; charset=utf-8; header=present", table)
			}
			return writeJSON(w, r, answer)
		}})
	}
	return rs
}

// writeEnvelope writes a problem as OpenCost's clients read it.
func writeEnvelope(w http.ResponseWriter, r *http.Request, p *Problem) {
	h := w.Header()
	h.Del("Content-Disposition")
	p.setHeaders(h)
	body, err := json.Marshal(opencost.Failure(p.Status, p.Detail))
	if err == nil {
		err = writeBody(w, r, p.Status, "application/json", append(body, '\n'))
	}
	if err != nil {
		http.Error(w, p.Detail, p.Status)
	}
}

// withoutModel serves what lies under /model, where Kubecost has the same routes,
// as if it did not.
func withoutModel(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rest, ok := strings.CutPrefix(r.URL.Path, "/model/"); ok {
			next.ServeHTTP(w, atPath(r, "/"+rest))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func atPath(r *http.Request, path string) *http.Request {
	other := new(http.Request)
	*other = *r
	other.URL = new(url.URL)
	*other.URL = *r.URL
	other.URL.Path, other.URL.RawPath = path, ""
	return other
}
