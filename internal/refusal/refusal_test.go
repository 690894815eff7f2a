package refusal

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A sender that writes its whole body before it reads hears why it was refused.
func TestSenderHearsOfRefusal(t *testing.T) {
	const size = 16 << 20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Begin(w)
		http.Error(w, "too much", http.StatusServiceUnavailable)
		Drain(w, r, size)
	}))
	defer server.Close()
	connection, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	fmt.Fprintf(connection, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	if _, err := connection.Write(make([]byte, size)); err != nil {
		t.Fatalf("the body could not be sent to its end: %v", err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusServiceUnavailable || string(text) != "too much\n" {
		t.Errorf("%s %q %v", answer.Status, text, err)
	}
}

// A body that does not come holds up its own connection and not its answer.
func TestAnswerDoesNotWaitForBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Begin(w)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusUnauthorized)
		Drain(w, r, 1<<20)
	}))
	defer server.Close()
	body, feed := io.Pipe()
	defer feed.Close()
	r, err := http.NewRequest(http.MethodPost, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Error(answer.Status)
	}
}
