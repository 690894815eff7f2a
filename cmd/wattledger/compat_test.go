package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/test/redistest"
)

// The folder of an older program is read as it is: from a copy of it this one
// gives the same answers to the byte, at once and when its Redis, which was away,
// has been told everything. test/compat.sh makes the folder and the answers.
func TestFolderOfAnOlderProgram(t *testing.T) {
	dir := t.TempDir()
	unpack(t, filepath.Join("testdata", "compat", "data.tar.gz"), dir)
	cfg, err := configs.Load(map[string]string{"config.file": filepath.Join(dir, "config.yaml")}, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	l := startLine(t, filepath.Join(dir, "data"), func(c *configs.Config) {
		c.Store, c.Transform = cfg.Store, cfg.Transform
		c.Redis.URL = server.URL("")
	})
	defer l.stop()
	if err := untilReady(l.url); err != nil {
		t.Fatal(err)
	}
	compare := func() error {
		file, err := os.Open(filepath.Join("testdata", "compat", "answers.jsonl"))
		if err != nil {
			return err
		}
		defer file.Close()
		n := 0
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for ; lines.Scan(); n++ {
			var want struct {
				Path   string
				Status int
				Body   string
			}
			if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
				return err
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, l.url+want.Path, nil)
			if err != nil {
				return err
			}
			r.Header.Set("X-Request-Id", "compat")
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err != nil {
				return err
			}
			if answer.StatusCode != want.Status || asOf.ReplaceAllString(string(got), "") != asOf.ReplaceAllString(want.Body, "") {
				return fmt.Errorf("%s: %d %s\nwant %d %s", want.Path, answer.StatusCode, got, want.Status, want.Body)
			}
		}
		if n < 25 {
			return fmt.Errorf("only %d answers were compared", n)
		}
		return lines.Err()
	}
	if err := eventually("what was replayed is flushed, and every answer is the same", compare); err != nil {
		t.Fatal(err)
	}
	followed(t, l.url, server)
	if err := compare(); err != nil {
		t.Errorf("with Redis told: %v", err)
	}
}

// asOf is what an answer says of the moment it was given.
var asOf = regexp.MustCompile(`"timestamp":"[^"]*"`)

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(packed); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if strings.HasSuffix(h.Name, "/") {
			err = os.MkdirAll(name, 0o750)
		} else {
			var content []byte
			if content, err = io.ReadAll(files); err == nil {
				err = os.WriteFile(name, content, 0o640)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
