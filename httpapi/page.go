package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"net/http"

	"github.com/wattledger/wattledger/httpapi/apidoc"
)

//go:embed web/index.html
var indexHTML []byte

// A page is the web page and the policy that lets nothing but its own style
// and script run.
type page struct {
	html   []byte
	policy string
}

func newPage() page {
	return page{html: indexHTML, policy: "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" +
		"; style-src " + hashOf(indexHTML, "style") + "; script-src " + hashOf(indexHTML, "script")}
}

// newDocs returns the description of the routes as a page. It is part of the
// program and is read by a test, so it cannot be wrong here.
func newDocs() page {
	html, err := apidoc.Page(openAPI)
	if err != nil {
		panic(err)
	}
	return page{html: html, policy: "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src " + hashOf(html, "style")}
}

// hashOf returns the policy source of the one inline element called name.
func hashOf(html []byte, name string) string {
	_, rest, _ := bytes.Cut(html, []byte("<"+name+">"))
	text, _, _ := bytes.Cut(rest, []byte("</"+name+">"))
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// GET /
func (a *api) servePage(w http.ResponseWriter, r *http.Request) error { return a.page.serve(w, r) }

// GET /docs
func (a *api) serveDocs(w http.ResponseWriter, r *http.Request) error { return a.docs.serve(w, r) }

func (p page) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	return writeBody(w, r, http.StatusOK, "text/html; charset=utf-8", p.html)
}
