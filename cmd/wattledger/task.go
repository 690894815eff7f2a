package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
	"github.com/wattledger/wattledger/ledger"
	"github.com/wattledger/wattledger/period"
)

// tasks runs work on the books inside the service, between replay and stop.
type tasks struct {
	ready    *readiness
	stopping context.Context // ends when the service is told to stop
}

var (
	errNotReady = httpapi.CannotBegin("the journal is being replayed; try again when /-/ready says so")
	errStopped  = errors.New("the service is stopping; run it again to go on")
)

// task returns t, ending with the service.
func (w *tasks) task(t httpapi.Task) httpapi.Task {
	return func(ctx context.Context, r httpapi.TaskRange, tell func(httpapi.Event)) error {
		if !w.ready.replayed.Load() {
			return errNotReady
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(w.stopping, func() { cancel(errStopped) })()
		err := t(ctx, r, tell)
		if err != nil && context.Cause(ctx) == errStopped {
			return errStopped
		}
		return err
	}
}

// A taskCommand is a command that works on the books: through the service that
// holds the storage, or on the storage itself if none does.
type taskCommand struct {
	name   string
	route  string
	whole  bool // works on all there is, and not on a range
	here   func(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) error
	result func(w io.Writer, e httpapi.Event) (bool, error) // prints a result; false if e is none
}

func (c taskCommand) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set, given := flags(c.name)
	from, to := "0", "now"
	if !c.whole {
		set.StringVar(&from, "from", "", "Begin: RFC 3339, Unix seconds, now-24h or -24h.")
		set.StringVar(&to, "to", "now", "End, exclusive, likewise.")
	}
	dry := set.Bool("dry-run", false, "Say what would come of it and change nothing.")
	server := set.String("server", "", "URL of the service that holds the storage, with user and password if it wants them; found by --storage.path if left out.")
	tokenFile := set.String("token-file", "", "File with a token of scope admin, for a service that wants one.")
	cfg, err := loadFlags(c.name, set, given, args, stderr)
	if err != nil {
		return err
	}
	r, err := taskRange(from, to, *dry)
	if err != nil {
		return fmt.Errorf("%w: %w; wattledger %s -h lists the flags", errUsage, err, c.name)
	}
	logger := newLogger(cfg.Log, stderr)
	show := newDisplay(stderr, logger, c.name)
	var last httpapi.Event
	tell := func(e httpapi.Event) {
		last = e
		show.event(e)
	}
	if *server == "" {
		err = c.local(ctx, cfg, r, logger, tell)
		var used *ledger.InUseError
		if errors.As(err, &used) {
			if used.Address == "" {
				return fmt.Errorf("%w: %w, which does not say where it listens; give its URL with --server", errUsage, used)
			}
			*server = "http://" + used.Address
		}
	}
	if *server != "" {
		err = c.remote(ctx, *server, *tokenFile, r, tell)
	}
	show.end()
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if ok, err := c.result(stdout, last); err != nil || ok {
		return err
	}
	return fmt.Errorf("%s: ended without a result", c.name)
}

// local works on the storage itself.
func (c taskCommand) local(ctx context.Context, cfg *configs.Config, r httpapi.TaskRange, logger *slog.Logger, tell func(httpapi.Event)) error {
	lock, err := ledger.Lock(cfg.Storage.Path)
	if err != nil {
		return err
	}
	defer lock.Release()
	return c.here(ctx, cfg, r, logger, tell)
}

// remote asks the service that holds the storage.
func (c taskCommand) remote(ctx context.Context, server, tokenFile string, r httpapi.TaskRange, tell func(httpapi.Event)) error {
	q := url.Values{"dry_run": {fmt.Sprint(r.DryRun)}}
	if !c.whole {
		q.Set("from", r.From.Format(time.RFC3339Nano))
		q.Set("to", r.To.Format(time.RFC3339Nano))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+c.route+"?"+q.Encode(), nil)
	if err != nil {
		return fmt.Errorf("%w: --server: want a URL that begins with http:// or https://", errUsage)
	}
	if tokenFile != "" {
		token, err := os.ReadFile(tokenFile)
		if err != nil {
			return fmt.Errorf("%w: --token-file: %w", errUsage, err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return refusal(req.URL, resp.Status, lines)
	}
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%s ended the answer before the task had ended; run it again to go on", req.URL.Host)
		}
		var e httpapi.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s answers what is no event: %w", req.URL.Host, err)
		}
		if e.Error != "" {
			return errors.New(e.Error)
		}
		tell(e)
		if e.Rerated != nil || e.Backfilled != nil || e.Remapped != nil {
			return nil
		}
	}
}

// refusal says why the service did not begin.
func refusal(at *url.URL, status string, body io.Reader) error {
	text, _ := io.ReadAll(io.LimitReader(body, 4096)) // the status says enough
	var p httpapi.Problem
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return fmt.Errorf("%s://%s: %s; if it needs TLS or a password, give --server=https://user:password@%s", at.Scheme, at.Host, status, at.Host)
	}
	return fmt.Errorf("%s://%s: %s", at.Scheme, at.Host, p.Detail)
}

func taskRange(from, to string, dry bool) (r httpapi.TaskRange, err error) {
	clock := period.Clock{Now: time.Now(), Zone: time.UTC}
	if from == "" {
		return r, errors.New("--from is needed")
	}
	start, err := clock.Parse(from)
	if err != nil {
		return r, fmt.Errorf("--from %q %w", from, err)
	}
	end, err := clock.Parse(to)
	if err != nil {
		return r, fmt.Errorf("--to %q %w", to, err)
	}
	r.From, r.To = start.From, end.To
	if !r.From.Before(r.To) {
		return r, fmt.Errorf("--from %s does not lie before --to %s", from, to)
	}
	r.DryRun = dry
	return r, nil
}
