package report

import (
	"context"
	"fmt"

	"github.com/wattledger/wattledger/store"
)

// Tags returns the labels, annotations and configured dimensions that there are, each
// with at most limit of its values.
func (r *Reports) Tags(ctx context.Context, match map[store.Dimension]string, limit int) ([]store.TagRow, error) {
	rows, err := r.books.Tags(ctx, match, limit)
	if err != nil {
		return nil, fmt.Errorf("tags: %w", err)
	}
	return rows, nil
}
