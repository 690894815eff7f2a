// Package accesstest makes tokens files for tests.
package accesstest

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wattledger/wattledger/access"
)

// A File is a tokens file that grows.
type File struct {
	Path string
	t    testing.TB
	text string
}

// New returns a file that is not there until the first token is.
func New(t testing.TB) *File {
	return &File{t: t, Path: filepath.Join(t.TempDir(), "tokens.yaml"), text: "tokens:\n"}
}

// Token adds a new token. rest is its entry's keys beside name and sha256.
func (f *File) Token(name, rest string) (token string) {
	f.t.Helper()
	token, hash := access.New()
	f.text += fmt.Sprintf("- {name: %q, sha256: %q, %s}\n", name, hash, rest)
	f.Write(f.text)
	return token
}

// Write puts text in place and dates it back, as if it had been there for a while.
func (f *File) Write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.Path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chtimes(f.Path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		f.t.Fatal(err)
	}
}

// Open returns the tokens in the file as it is now.
func (f *File) Open() *access.Tokens {
	f.t.Helper()
	tokens, err := access.Open(f.Path, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		f.t.Fatal(err)
	}
	return tokens
}

// Grant returns the grant of one new token.
func Grant(t testing.TB, name, rest string) *access.Grant {
	t.Helper()
	f := New(t)
	token := f.Token(name, rest)
	return f.Open().Find(token)
}
