package httpapi

import (
	_ "embed"
	"errors"
	"net/http"

	"github.com/wattledger/wattledger/access"
)

//go:embed openapi.yaml
var openAPI []byte

func (a *api) ingest(w http.ResponseWriter, r *http.Request) error {
	return pass(a.ops.Ingest)(w, r)
}

// GET /-/healthy: the process serves.
func (a *api) healthy(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, r, struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{"healthy", a.ops.Version})
}

// GET /-/ready: the process takes samples and answers from whole books.
func (a *api) ready(w http.ResponseWriter, r *http.Request) error {
	answer := struct {
		Status string  `json:"status"`
		Checks []Check `json:"checks"`
	}{"ready", []Check{}}
	if a.ops.Ready != nil {
		answer.Checks = append(answer.Checks, a.ops.Ready(r.Context())...)
	}
	status := http.StatusOK
	if a.ops.Tokens != nil && !seesAll(access.From(r.Context())) {
		for i := range answer.Checks { // details name servers and what is wrong with them
			answer.Checks[i].Detail = ""
		}
	}
	for _, c := range answer.Checks {
		if !c.OK {
			answer.Status, status = "not ready", http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
		}
	}
	return writeJSONStatus(w, r, status, answer)
}

// POST /-/reload
func (a *api) reload(w http.ResponseWriter, r *http.Request) error {
	if a.ops.Reload == nil {
		return newProblem(http.StatusForbidden, "lifecycle-disabled", "Lifecycle is disabled",
			"this process does not reload over HTTP; start it again to change its configuration")
	}
	if err := a.ops.Reload(r.Context()); err != nil {
		// The reason is the operator's own configuration, so it is told.
		return errors.Join(newProblem(http.StatusInternalServerError, "reload", "Configuration not reloaded",
			"the configuration in force stays: "+err.Error()), err)
	}
	return writeJSON(w, r, struct {
		Status string `json:"status"`
	}{"reloaded"})
}

// GET /api/v1/status/config
func (a *api) statusConfig(w http.ResponseWriter, r *http.Request) error {
	text := ""
	if a.ops.ConfigYAML != nil {
		text = a.ops.ConfigYAML()
	}
	return writeBody(w, r, http.StatusOK, "application/yaml", []byte(text))
}

// GET /openapi.yaml
func (a *api) serveOpenAPI(w http.ResponseWriter, r *http.Request) error {
	return writeBody(w, r, http.StatusOK, "application/yaml", openAPI)
}
