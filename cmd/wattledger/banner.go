package main

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/wattledger/wattledger/configs"
)

// banner is what people at a terminal are told once the service listens: where to
// click, where the books are, and what to paste into Prometheus.
func banner(cfg *configs.Config, address string) string {
	scheme := "http"
	if cfg.Web.ConfigFile != "" {
		scheme = "https" // of which the file may say no word; the log tells
	}
	host, port, _ := net.SplitHostPort(address)
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	}
	url := scheme + "://" + net.JoinHostPort(host, port)
	books, err := filepath.Abs(cfg.Storage.Path)
	if err != nil {
		books = cfg.Storage.Path
	}
	prices := "set by your configuration"
	if cfg.Transform.Cost.IsDefault() {
		prices = "the built-in defaults, nobody's tariff: set transform.cost"
	}
	writers := "this machine alone; for others --web.listen-address=:" + port + ", best with web.tokens_file"
	switch {
	case cfg.Web.TokensFile != "":
		writers = "bearers of a token of scope write in " + cfg.Web.TokensFile
	case cfg.Web.ConfigFile != "":
		writers = "whom " + cfg.Web.ConfigFile + " lets in"
	case cfg.Web.Open():
		writers = "everybody who reaches this port; web.tokens_file says otherwise"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Wattledger %s\n\n", buildVersion())
	for _, line := range [][2]string{{"page", url + "/"}, {"books", books}, {"prices", prices}, {"may write", writers}} {
		fmt.Fprintf(&b, "  %-10s %s\n", line[0], line[1])
	}
	b.WriteString("\n  For prometheus.yml, with your cluster's name; reload Prometheus after that:\n\n")
	for line := range strings.Lines(configs.RemoteWrite(url + "/api/v1/write")) {
		b.WriteString("    " + line)
	}
	return b.String() + "\n"
}
