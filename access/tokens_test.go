package access

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// write puts a tokens file in place and dates it back, as if it had been there for a while.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
}

func entry(name, hash, rest string) string {
	return fmt.Sprintf("- {name: %q, sha256: %q, %s}\n", name, hash, rest)
}

func open(t *testing.T, text string) (tokens *Tokens, path string, log *bytes.Buffer) {
	t.Helper()
	path, log = filepath.Join(t.TempDir(), "tokens.yaml"), new(bytes.Buffer)
	write(t, path, text)
	tokens, err := Open(path, slog.New(slog.NewTextHandler(log, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return tokens, path, log
}

func TestNewTokensAreLongAndDiffer(t *testing.T) {
	a, hashA := New()
	b, hashB := New()
	if a == b || hashA == hashB || len(a) != len("wlt_")+43 || len(hashA) != 64 {
		t.Errorf("tokens %d and %d bytes, hashes %s and %s", len(a), len(b), hashA, hashB)
	}
	if Mask("x "+a+"&"+b) != "x wlt_<secret>&wlt_<secret>" {
		t.Error("Mask leaves a token")
	}
}

func TestFind(t *testing.T) {
	writer, writerHash := New()
	reader, readerHash := New()
	tokens, _, _ := open(t, "tokens:\n"+
		entry("prometheus", writerHash, "scopes: [write]")+
		entry("team", strings.ToUpper(readerHash), "scopes: [read], clusters: [b, a, b]"))
	w, r := tokens.Find(writer), tokens.Find(reader)
	if w == nil || w.Name() != "prometheus" || !w.May(Write) || w.May(Read) || w.May(Admin) || w.Clusters() != nil {
		t.Errorf("writer: %+v", w)
	}
	if r == nil || r.Name() != "team" || r.May(Write) || !r.May(Read) || !slices.Equal(r.Clusters(), []string{"a", "b"}) {
		t.Errorf("reader: %+v", r)
	}
	for _, wrong := range []string{"", writerHash, writer[:len(writer)-1], writer + "x", strings.ToLower(writer), "prometheus"} {
		if g := tokens.Find(wrong); g != nil {
			t.Errorf("%q is taken for %s", wrong, g.Name())
		}
	}
	if tokens.Has(Admin) || !tokens.Has(Write) {
		t.Error("Has")
	}
}

// What is wrong is named, and no token is repeated that stands where it should not.
func TestBrokenFiles(t *testing.T) {
	secret, hash := New()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	f := func(text, want string) {
		t.Helper()
		write(t, path, text)
		err := Check(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), secret[4:]) {
			t.Errorf("the error tells the token: %v", err)
		}
	}
	ok := entry("a", hash, "scopes: [read]")
	f("", "holds no tokens")
	f("tokens: []", "holds no tokens")
	f("token: []", `unknown key "token"`)
	f("tokens:\n"+ok+ok, `token 2 ("a"): the name is there twice`)
	f("tokens:\n"+ok+entry("b", hash, "scopes: [read]"), `token 2 ("b"): the token is there twice`)
	f("tokens:\n"+entry("", hash, "scopes: [read]"), "name must not be empty")
	f("tokens:\n"+entry(secret, hash, "scopes: [read]"), "name holds a token")
	f("tokens:\n"+entry("a", secret, "scopes: [read]"), "sha256 must be 64 hexadecimal digits")
	f("tokens:\n"+entry("a", hash[:62], "scopes: [read]"), "sha256 must be 64 hexadecimal digits")
	f("tokens:\n"+entry("a", hash, "scopes: []"), "scopes must not be empty")
	f("tokens:\n"+entry("a", hash, "scopes: [reed]"), `scope "reed"`)
	f("tokens:\n"+entry("a", hash, "scopes: ["+secret+"]"), `scope "wlt_<secret>"`)
	f("tokens:\n"+entry("a", hash, "scopes: [read], clusters: []"), "must not be an empty list")
	f("tokens:\n"+entry("a", hash, "scopes: [read], clusters: ['']"), "a name must not be empty")
	f("tokens:\n"+entry("a", hash, "scopes: [admin], clusters: [x]"), "a token of scope admin sees everything")
	f("tokens:\n"+entry("a", hash, "scopes: [read], queries_per_second: -1"), "queries_per_second")
	f("tokens:\n"+entry("a", hash, "scopes: [write], samples_per_second: .nan"), "samples_per_second")
	f("tokens:\n"+entry("a", hash, "scopes: [read], queries_per_second: "+secret), "line 2")
	f("tokens:\n- "+secret+"\n", "line 2")
	f("tokens: {"+secret+": 1}\n", "line 1")
	if err := Check(path + ".gone"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("no file: %v", err)
	}
}

// A file that is broken, gone or half written keeps the tokens before it.
func TestReload(t *testing.T) {
	first, firstHash := New()
	second, secondHash := New()
	tokens, path, log := open(t, "tokens:\n"+entry("first", firstHash, "scopes: [read]"))
	f := func(what string, hasFirst, hasSecond bool, failures, failing float64) {
		t.Helper()
		tokens.reload()
		if got := tokens.Find(first) != nil; got != hasFirst {
			t.Errorf("%s: first %v", what, got)
		}
		if got := tokens.Find(second) != nil; got != hasSecond {
			t.Errorf("%s: second %v", what, got)
		}
		if got := testutil.ToFloat64(tokens.metrics.failures); got != failures {
			t.Errorf("%s: %v failures, want %v", what, got, failures)
		}
		if got := testutil.ToFloat64(tokens.metrics.failing); got != failing {
			t.Errorf("%s: failing %v, want %v", what, got, failing)
		}
	}
	f("unchanged", true, false, 0, 0)
	write(t, path, "tokens:\n- {name: ")
	f("broken", true, false, 1, 1)
	f("still broken", true, false, 1, 1)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f("gone", true, false, 2, 1)
	f("still gone", true, false, 2, 1)
	write(t, path, "")
	f("empty", true, false, 2, 1) // as gone as before
	write(t, path, "tokens:\n"+entry("first", firstHash, "scopes: [read]"))
	f("mended", true, false, 2, 0)
	write(t, path, "tokens:\n"+entry("second", secondHash, "scopes: [read]"))
	f("replaced", false, true, 2, 0)
	if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("tokens:\n"+entry("first", firstHash, "scopes: [read]")), 0o600); err != nil {
		t.Fatal(err)
	}
	f("just being written", false, true, 2, 0)
	if n := strings.Count(log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors logged:\n%s", n, log)
	}
	if s := log.String(); strings.Contains(s, first[4:]) || strings.Contains(s, second[4:]) {
		t.Error("the log tells a token")
	}
}

func TestRunReadsTheFileAgain(t *testing.T) {
	_, hash := New()
	second, secondHash := New()
	tokens, path, _ := open(t, "tokens:\n"+entry("first", hash, "scopes: [read]"))
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- tokens.Run(ctx) }()
		write(t, path, "tokens:\n"+entry("second", secondHash, "scopes: [read]"))
		time.Sleep(every + time.Millisecond)
		synctest.Wait()
		if tokens.Find(second) == nil {
			t.Error("the new file was not read")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestQueryRate(t *testing.T) {
	secret, hash := New()
	tokens, path, _ := open(t, "tokens:\n"+entry("a", hash, "scopes: [read], queries_per_second: 2"))
	g, now := tokens.Find(secret), time.Now()
	for i := range 10 { // five seconds' worth at once
		if _, ok := g.Ask(now); !ok {
			t.Fatalf("question %d was refused", i)
		}
	}
	if wait, ok := g.Ask(now); ok || math.Abs(wait.Seconds()-0.5) > 0.01 {
		t.Errorf("question 11: %v after %v", ok, wait)
	}
	if _, ok := g.Ask(now.Add(600 * time.Millisecond)); !ok {
		t.Error("half a second later none is left")
	}
	// Reading the file again gives nothing away.
	write(t, path, "tokens:\n"+entry("a", hash, "scopes: [read], queries_per_second: 2, clusters: [x]"))
	tokens.reload()
	if _, ok := tokens.Find(secret).Ask(now.Add(600 * time.Millisecond)); ok {
		t.Error("a reload filled the bucket")
	}
	var none *Grant
	if _, ok := none.Ask(now); !ok {
		t.Error("without tokens there is no rate")
	}
}

func TestSampleRate(t *testing.T) {
	secret, hash := New()
	tokens, _, _ := open(t, "tokens:\n"+entry("a", hash, "scopes: [write], samples_per_second: 1000"))
	g, now := tokens.Find(secret), time.Now()
	if due := g.SamplesDue(now); due != 0 {
		t.Fatalf("at first: wait %v", due)
	}
	g.SpendSamples(now, 12_000) // seven seconds more than the five there are
	if due := g.SamplesDue(now); math.Abs(due.Seconds()-7) > 0.05 {
		t.Errorf("after 12,000 samples: wait %v, want 7 s", due)
	}
	if due := g.SamplesDue(now.Add(7100 * time.Millisecond)); due != 0 {
		t.Errorf("7.1 s later: wait %v", due)
	}
	var none *Grant
	none.SpendSamples(now, 1e9)
	if none.SamplesDue(now) != 0 || none.Clusters() != nil || !none.May(Admin) {
		t.Error("the nil grant is bound")
	}
}

// Requests find their grants while the file is read again.
func TestFindWhileReloading(t *testing.T) {
	secret, hash := New()
	tokens, path, _ := open(t, "tokens:\n"+entry("a", hash, "scopes: [read], queries_per_second: 1e6"))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 500 {
				g := tokens.Find(secret)
				if g == nil {
					t.Error("the token was gone for a moment")
					return
				}
				g.Ask(time.Now())
			}
		})
	}
	for i := range 20 {
		write(t, path, "tokens:\n"+entry("a", hash, fmt.Sprintf("scopes: [read], queries_per_second: %d", 1_000_000+i)))
		tokens.reload()
	}
	group.Wait()
}

func TestContext(t *testing.T) {
	if From(context.Background()) != nil {
		t.Error("a grant from nowhere")
	}
	g := &Grant{name: "a"}
	if From(With(context.Background(), g)) != g {
		t.Error("the grant is lost")
	}
}
