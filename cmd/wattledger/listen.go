package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/net/netutil"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/httpapi"
)

// A front is one open port and the routes behind it.
type front struct {
	name     string // of the setting
	listener net.Listener
	server   *http.Server
}

// fronts are the open ports, that of web.listen_address first.
type fronts []front

// openFronts opens the ports. What has an address of its own is served there and
// no longer at web.listen_address.
func openFronts(cfg *configs.Web, routes httpapi.Handlers, logger *slog.Logger) (_ fronts, err error) {
	var list fronts
	defer func() {
		if err != nil {
			list.close()
		}
	}()
	open := func(name, address string, parts httpapi.Part) error {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("%w: web.%s: %w", errUsage, name, err)
		}
		list = append(list, front{name, listener, &http.Server{
			Handler:           routes.Of(parts),
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       time.Minute,
			IdleTimeout:       5 * time.Minute,
			MaxHeaderBytes:    32 << 10,
			ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		}})
		return nil
	}
	rest := httpapi.PartIngest | httpapi.PartQueries | httpapi.PartOperations
	own := []struct {
		name, address string
		part          httpapi.Part
	}{
		{"ingest_listen_address", cfg.IngestListenAddress, httpapi.PartIngest},
		{"operations_listen_address", cfg.OperationsListenAddress, httpapi.PartOperations},
	}
	for _, o := range own {
		if o.address != "" {
			rest &^= o.part
		}
	}
	if err := open("listen_address", cfg.Address(), rest); err != nil {
		return nil, err
	}
	for _, o := range own {
		if o.address == "" {
			continue
		}
		if err := open(o.name, o.address, o.part); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// of returns the port that serves a setting's routes.
func (fs fronts) of(name string) net.Addr {
	for _, f := range fs {
		if f.name == name {
			return f.listener.Addr()
		}
	}
	return fs[0].listener.Addr()
}

// serve answers until the server is shut down. A connection that is one too many
// waits until another ends.
func (f front) serve(cfg *configs.Web, logger *slog.Logger) error {
	err := web.Serve(netutil.LimitListener(f.listener, cfg.MaxConnections), f.server, &web.FlagConfig{WebConfigFile: &cfg.ConfigFile}, logger)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", f.listener.Addr(), err)
}

// shutdown waits for requests in the works, and cuts off those that are still
// not done when ctx ends.
func (fs fronts) shutdown(ctx context.Context) error {
	var errs []error
	for _, f := range fs {
		err := f.server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = f.server.Close()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// close gives back ports that were never served.
func (fs fronts) close() {
	for _, f := range fs {
		f.listener.Close()
	}
}
