// Package refusal lets a request be answered while its body is still on its
// way, so that its sender hears why it was refused. A connection that is closed
// on bytes nobody read is reset, and the answer is lost with it.
package refusal

import (
	"io"
	"net/http"
	"time"
)

// drainTime is how long the rest of a refused body may still come. Whoever is
// slower loses the connection, and has the answer by then.
const drainTime = 5 * time.Second

// Begin says that w is answered before its request has been read, and that the
// connection ends with the answer. Without it the server holds the answer back
// until it has read a part of the body.
func Begin(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	// HTTP/2 has always been able to, and a ResponseWriter of a test need not.
	_ = http.NewResponseController(w).EnableFullDuplex()
}

// Drain sends the answer that was written and takes what is left of the body, at
// most maxBytes, to nowhere.
func Drain(w http.ResponseWriter, r *http.Request, maxBytes int64) {
	connection := http.NewResponseController(w)
	_ = connection.Flush()
	_ = connection.SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.CopyN(io.Discard, r.Body, maxBytes)
}
