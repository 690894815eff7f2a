package configs

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed prometheus.yaml
var prometheus string

var urlLine = regexp.MustCompile(`(?m)^(    url: ).*$`)

// RemoteWrite returns what people paste into prometheus.yml so that it writes to url.
func RemoteWrite(url string) string {
	_, block, _ := strings.Cut(prometheus, "\nglobal:\n")
	block, _, _ = strings.Cut(block, "\nscrape_configs:")
	block = strings.Replace(block, "  scrape_interval: 15s\n", "", 1)
	return "global:\n" + urlLine.ReplaceAllString(block, "${1}"+url)
}
