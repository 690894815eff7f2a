// Package strictyaml reads YAML written by people: one document, no key that
// nobody knows, and errors that name lines and keys instead of Go types.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads the one document of file into doc. An empty file leaves doc as
// it is; an unknown key is an error with its line.
func Decode(file []byte, doc any) error {
	dec := yaml.NewDecoder(bytes.NewReader(file))
	dec.KnownFields(true)
	if err := dec.Decode(doc); err != nil && !errors.Is(err, io.EOF) {
		return Plain(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	return nil
}

// Plain takes Go's type names out of an error of the YAML package.
func Plain(err error) error {
	var typeError *yaml.TypeError
	if !errors.As(err, &typeError) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var texts []string
	for _, text := range typeError.Errors {
		if at, field, ok := strings.Cut(text, ": field "); ok {
			if name, _, ok := strings.Cut(field, " not found in type "); ok {
				text = fmt.Sprintf("%s: unknown key %q", at, name)
			}
		}
		texts = append(texts, text)
	}
	return errors.New(strings.Join(texts, "; "))
}
