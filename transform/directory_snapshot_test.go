package transform

import (
	"fmt"
	"io"

	"github.com/wattledger/wattledger/state"
)

// save writes a directory that stands alone; equal ones give equal bytes.
func (d *Directory) save(w io.Writer) error {
	c := state.NewWriter(w)
	d.Walk(c)
	if err := c.Close(); err != nil {
		return fmt.Errorf("save directory: %w", err)
	}
	return nil
}

// load reads what save wrote.
func (d *Directory) load(r io.Reader) error {
	c := state.NewReader(r)
	d.Walk(c)
	if err := c.Err(); err != nil {
		return fmt.Errorf("load directory: %w", err)
	}
	return nil
}
