package apidoc

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A schema is as much of JSON Schema as tells a reader what to expect.
type schema struct {
	Ref         string `yaml:"$ref"`
	Type        any
	Format      string
	Enum        []any
	Const       any
	Default     any
	Minimum     any
	Maximum     any
	Description string
	Items       *schema
	Properties  yaml.Node
	Required    []string
	// Others are the fields of an object whose names are not known beforehand:
	// a schema, or true or false.
	Others yaml.Node `yaml:"additionalProperties"`
}

// label says in words of what type a value is; what has a name is linked.
func (s schema) label() template.HTML {
	if s.Ref != "" {
		name := last(s.Ref)
		return template.HTML(fmt.Sprintf(`<a href="#%s">%s</a>`, id("schema-"+name), template.HTMLEscapeString(name)))
	}
	text := template.HTML(template.HTMLEscapeString(strings.Join(words(s.Type), " or ")))
	if s.Format != "" {
		text += template.HTML(template.HTMLEscapeString(" (" + s.Format + ")"))
	}
	if s.Items != nil {
		text += " of " + s.Items.label()
	}
	if of, ok := s.others(); ok {
		text += " of " + of.label() + " by name"
	}
	for _, note := range s.notes() {
		text += template.HTML(template.HTMLEscapeString("; " + note))
	}
	return text
}

// notes are what limits a value beside its type.
func (s schema) notes() []string {
	var notes []string
	if s.Const != nil {
		notes = append(notes, fmt.Sprintf("always %v", s.Const))
	}
	if len(s.Enum) > 0 {
		notes = append(notes, "one of "+strings.Join(texts(s.Enum), ", "))
	}
	if s.Minimum != nil {
		notes = append(notes, fmt.Sprintf("at least %v", s.Minimum))
	}
	if s.Maximum != nil {
		notes = append(notes, fmt.Sprintf("at most %v", s.Maximum))
	}
	if s.Default != nil {
		notes = append(notes, fmt.Sprintf("%v where it is left out", s.Default))
	}
	return notes
}

// others returns the schema of fields whose names are not known beforehand.
func (s schema) others() (schema, bool) {
	var of schema
	if s.Others.Kind != yaml.MappingNode || s.Others.Decode(&of) != nil {
		return schema{}, false
	}
	return of, true
}

// fields lists the fields of an object and of the objects in it. What has a name of
// its own is described there.
func (s schema) fields(prefix string) []Field {
	var list []Field
	if s.Items != nil {
		list = append(list, s.Items.fields(prefix+"[]")...)
	}
	if of, ok := s.others(); ok {
		list = append(list, of.fields(join(prefix, "NAME"))...)
	}
	for name, node := range pairs(s.Properties) {
		var of schema
		if node.Decode(&of) != nil {
			continue // not a schema: the tests of the description tell of it
		}
		full := join(prefix, name)
		list = append(list, Field{Name: full, Required: slices.Contains(s.Required, name), Type: of.label(), Description: of.Description})
		list = append(list, of.fields(full)...)
	}
	return list
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// words returns a type, or several.
func words(v any) []string {
	switch v := v.(type) {
	case nil:
		return []string{"anything"}
	case []any:
		return texts(v)
	}
	return []string{fmt.Sprint(v)}
}

func texts(vs []any) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = fmt.Sprint(v)
	}
	return out
}
