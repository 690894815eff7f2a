package httpapi

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPageIsBuiltOfItsSources fails when somebody changed web/ and did not run
// make page. Whether the build gives these very bytes, make page-check tells.
func TestPageIsBuiltOfItsSources(t *testing.T) {
	dir := filepath.Join("..", "web")
	names := []string{"index.html", "package-lock.json", "package.json", "tsconfig.json", "vite.config.js"}
	src, err := os.ReadDir(filepath.Join(dir, "src"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range src {
		names = append(names, "src/"+f.Name())
	}
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s\n%s", name, body)
	}
	want, err := web.ReadFile("web/sources.sha256")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x\n", sum.Sum(nil)); got != string(want) {
		t.Error("httpapi/web is not built of web/: run make page")
	}
}

// TestPageIsServed asks every view and every file that the page names.
func TestPageIsServed(t *testing.T) {
	s := serve(t, nil)
	for _, at := range []string{"/", "/ui/", "/ui/overview", "/ui/costs", "/ui/nodes", "/ui/sources", "/ui/about"} {
		res, body := s.do("GET", at, "")
		base := `<base href="./">`
		if at == "/" {
			base = `<base href="./ui/">`
		}
		if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, base) {
			t.Errorf("%s: %d %s %.200s", at, res.StatusCode, res.Header.Get("Content-Type"), body)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %s", at, csp)
		}
	}
	_, html := s.do("GET", "/ui/overview", "")
	files := regexp.MustCompile(`(?:src|href)="\./(assets/[^"]+)"`).FindAllStringSubmatch(html, -1)
	if len(files) < 2 {
		t.Fatalf("the page names %d files:\n%s", len(files), html)
	}
	bytes := 0
	for _, f := range files {
		res, _ := s.do("GET", "/ui/"+f[1], "")
		if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %s", f[1], res.StatusCode, res.Header.Get("Cache-Control"))
		}
		bytes += len(newPage()[f[1]].smaller)
	}
	if bytes > 80_000 {
		t.Errorf("the first load is %d bytes compressed, more than 80 kB", bytes)
	}
	s.problem(404, "GET", "/ui/nowhere", "")
}
