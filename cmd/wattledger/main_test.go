package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/ledger"
)

// A slip on the command line is told with what was meant.
func TestSlips(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if err := command(t.Context(), args, &out, &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	f(`unknown command "chek-config"; did you mean "check-config"?`, "chek-config")
	f(`did you mean "rerate"?`, "help", "rerat")
	f("unknown flag --storage.pth; did you mean --storage.path?", "serve", "--storage.pth=x")
	f("did you mean --dry-run?", "rerate", "--dryrun")
	f("did you mean --scope?", "token", "new", "--scopes=read")
}

// Every command can be asked for help.
func TestHelp(t *testing.T) {
	names := commands()
	if len(names) < 10 {
		t.Fatalf("only %v", names)
	}
	for _, name := range names {
		var out bytes.Buffer
		_ = command(t.Context(), []string{"help", name}, &out, &out) // of a flag set the error says that help was asked for
		if !strings.Contains(out.String(), "Usage") {
			t.Errorf("help %s: %q", name, out.String())
		}
	}
}

func TestBanner(t *testing.T) {
	cfg := configs.Default()
	f := func(address string, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if got := banner(cfg, address); !strings.Contains(got, want) {
				t.Errorf("no %q in:\n%s", want, got)
			}
		}
	}
	f("127.0.0.1:9201", "http://localhost:9201/", "/data\n", "built-in defaults", "this machine alone", "url: http://localhost:9201/api/v1/write", "remote_write:")
	cfg.Web.ListenAddress = ":9201"
	cfg.Transform.Cost.ElectricityPerKWh = 0.21
	f("[::]:9201", "everybody who reaches", "set by your configuration")
	cfg.Web.TokensFile = "tokens.yaml"
	f("[::]:9201", "scope write in tokens.yaml")
	if len(cfg.Notices()) != 0 {
		t.Errorf("with tokens it warns: %v", cfg.Notices())
	}
	cfg.Web.TokensFile = ""
	if n := cfg.Notices(); len(n) != 1 || !strings.Contains(n[0], "web.tokens_file") {
		t.Errorf("open to everybody it says %v", n)
	}
}

// Who comes second is told who was first.
func TestFolderInUse(t *testing.T) {
	home := t.TempDir()
	p := startWith(t, home, "")
	dir := home + "/data"
	_, err := ledger.Lock(dir)
	if err == nil || !strings.Contains(err.Error(), "in use by another process, process ") || !strings.Contains(err.Error(), "serves at "+strings.TrimPrefix(p.url, "http://")) {
		t.Errorf("%v", err)
	}
}
