package transform

import (
	"fmt"
	"io"

	"github.com/wattledger/wattledger/internal/snapshot"
)

// save writes a directory that stands alone; equal ones give equal bytes.
func (d *Directory) save(w io.Writer) error {
	c := snapshot.NewWriter(w)
	c.Version = tagsVersion
	d.Walk(c)
	if err := c.Close(); err != nil {
		return fmt.Errorf("save directory: %w", err)
	}
	return nil
}

// load reads what save wrote.
func (d *Directory) load(r io.Reader) error {
	c := snapshot.NewReader(r)
	c.Version = tagsVersion
	d.Walk(c)
	if err := c.Err(); err != nil {
		return fmt.Errorf("load directory: %w", err)
	}
	return nil
}
