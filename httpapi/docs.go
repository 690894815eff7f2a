package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	"github.com/wattledger/wattledger/httpapi/apidoc"
)

// docs is the description of the routes as a page, and the policy that lets nothing
// but its own style count.
type docs struct {
	html   []byte
	policy string
}

// newDocs makes it of openapi.yaml, which is part of the program and is read by a
// test, so it cannot be wrong here.
func newDocs() docs {
	html, err := apidoc.Page(openAPI)
	if err != nil {
		panic(err)
	}
	return docs{html: html, policy: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " + hashOf(html, "style")}
}

// hashOf returns the policy source of the one inline element called name.
func hashOf(html []byte, name string) string {
	_, rest, _ := bytes.Cut(html, []byte("<"+name+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+name+">"))
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// GET /docs
func (a *api) serveDocs(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Security-Policy", a.docs.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	return writeBody(w, r, http.StatusOK, "text/html; charset=utf-8", a.docs.html)
}
