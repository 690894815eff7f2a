// Command telegrafparse answers remote-write requests after Telegraf's own
// parser has read them, and keeps nothing.
package main

import (
	"flag"
	"io"
	"log"
	"net/http"

	"github.com/golang/snappy"
	"github.com/influxdata/telegraf/plugins/parsers/prometheusremotewrite"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9270", "address to listen on")
	flag.Parse()
	parser := &prometheusremotewrite.Parser{}
	http.HandleFunc("POST /api/v1/write", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			body, err = snappy.Decode(nil, body)
		}
		if err == nil {
			_, err = parser.Parse(body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	http.HandleFunc("GET /-/ready", func(http.ResponseWriter, *http.Request) {})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
