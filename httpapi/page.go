package httpapi

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
)

// web holds what `make page` builds of the sources in web/ at the root.
//
//go:embed web
var web embed.FS

// pagePolicy lets nothing run or load but the page's own files.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"

// views are the paths under /ui/ at which the page opens.
var views = []string{"", "overview", "costs", "nodes", "sources", "about"}

// A file of the page, and the same compressed.
type file struct {
	contentType    string
	plain, smaller []byte
	etag           string
}

// A page is its files by their path under /ui/. Views have the page itself.
type page map[string]file

func newPage() page {
	p := page{}
	fs.WalkDir(web, "web", func(name string, d fs.DirEntry, _ error) error {
		if !d.IsDir() && path.Ext(name) != ".sha256" {
			body, _ := web.ReadFile(name) // it is part of the program
			p[strings.TrimPrefix(name, "web/")] = newFile(name, body)
		}
		return nil
	})
	for _, v := range views {
		p[v] = p["index.html"]
	}
	// At the root the page's own files lie one level lower.
	root := bytes.Replace(p["index.html"].plain, []byte(`<base href="./">`), []byte(`<base href="./ui/">`), 1)
	p["/"] = newFile("index.html", root)
	return p
}

func newFile(name string, body []byte) file {
	var z bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&z, gzip.BestCompression) // the level is one there is
	zw.Write(body)
	zw.Close()
	return file{mime.TypeByExtension(path.Ext(name)), body, z.Bytes(), fmt.Sprintf(`"%x"`, sha256.Sum256(body))}
}

// GET / and all below /ui/
func (a *api) servePage(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutPrefix(r.URL.Path, "/ui/")
	if !ok {
		name = "/"
	}
	f, ok := a.page[name]
	if !ok {
		return newProblem(http.StatusNotFound, "not-found", "No such view", "the page has no "+r.URL.Path+"; it opens at /ui/overview")
	}
	h := w.Header()
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("ETag", f.etag)
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(name, "assets/") { // their names change with what is in them
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if r.Header.Get("If-None-Match") == f.etag {
		h.Add("Vary", "Accept-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return writeFile(w, r, f)
}

// writeFile sends the compressed form as it lies there to whom takes it.
func writeFile(w http.ResponseWriter, r *http.Request, f file) error {
	body := f.plain
	if acceptsGzip(r) {
		w.Header().Set("Content-Encoding", "gzip")
		body = f.smaller
	}
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", fmt.Sprint(len(body)))
	h.Add("Vary", "Accept-Encoding")
	w.WriteHeader(http.StatusOK)
	w.Write(body) // a client that went away is no error of ours
	return nil
}
