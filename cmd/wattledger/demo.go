package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/wattledger/wattledger/configs"
	"github.com/wattledger/wattledger/internal/demo"
	"golang.org/x/sync/errgroup"
)

// demoCommand serves from an empty temporary store and feeds itself a simulated cluster.
func demoCommand(ctx context.Context, cfg *configs.Config, logger *slog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "wattledger-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg.Storage.Path = dir
	cfg.Storage.FlushInterval = time.Second

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return run(ctx, cfg, logger, func(addr string) {
			_, port, _ := strings.Cut(addr[strings.LastIndex(addr, "]")+1:], ":")
			group.Go(func() error {
				logger.Info("demo: open the page", "url", "http://localhost:"+port+"/")
				return demo.Feed(ctx, "http://127.0.0.1:"+port+"/api/v1/write", time.Now())
			})
		})
	})
	return group.Wait()
}
