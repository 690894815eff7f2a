// Package apidoc makes one page of an OpenAPI description, for people to read. The
// page needs no script and asks nothing of any other server.
package apidoc

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Parse(pageHTML))

// A description is what the page shows of OpenAPI, in the order it was written.
type description struct {
	Info struct {
		Title, Summary, Description string
	}
	Paths      yaml.Node
	Components struct {
		Parameters map[string]parameter
		Responses  map[string]response
		Schemas    yaml.Node
	}
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string
	In          string
	Required    bool
	Description string
	Schema      schema
}

type response struct {
	Ref         string `yaml:"$ref"`
	Description string
	Content     map[string]struct{ Schema schema }
}

type operation struct {
	Summary     string
	Description string
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct{ Schema schema }
	} `yaml:"requestBody"`
	Responses yaml.Node
}

// A Route is one method of one path, as the page shows it.
type Route struct {
	ID, Method, Path     string
	Summary, Description string
	Parameters           []Field
	Bodies               []Body // what is sent
	Answers              []Body
}

// A Body is what is sent or answered as one media type.
type Body struct {
	Status, Description, Media string
	Type                       template.HTML
	Fields                     []Field
}

// A Field is one parameter, or one field of an object.
type Field struct {
	Name, In    string
	Required    bool
	Type        template.HTML
	Description string
}

// A Schema is an object that several answers hold.
type Schema struct {
	ID, Name, Description string
	Type                  template.HTML
	Fields                []Field
}

// Page renders a description, or says why it cannot be read.
func Page(openAPI []byte) ([]byte, error) {
	var d description
	if err := yaml.Unmarshal(openAPI, &d); err != nil {
		return nil, fmt.Errorf("read the description: %w", err)
	}
	routes, err := d.routes()
	if err != nil {
		return nil, err
	}
	schemas, err := d.schemas()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = page.Execute(&b, struct {
		Title, Summary, Description string
		Routes                      []Route
		Schemas                     []Schema
	}{d.Info.Title, d.Info.Summary, d.Info.Description, routes, schemas})
	return b.Bytes(), err
}

func (d description) routes() ([]Route, error) {
	var routes []Route
	for path, methods := range pairs(d.Paths) {
		for method, node := range pairs(*methods) {
			var op operation
			if err := node.Decode(&op); err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			r := Route{ID: id(method + path), Method: strings.ToUpper(method), Path: path, Summary: op.Summary, Description: op.Description}
			for _, p := range op.Parameters {
				if p.Ref != "" {
					p = d.Components.Parameters[last(p.Ref)]
				}
				r.Parameters = append(r.Parameters, Field{p.Name, p.In, p.Required, p.Schema.label(), cmpText(p.Description, p.Schema.Description)})
			}
			for _, media := range sorted(op.RequestBody.Content) {
				s := op.RequestBody.Content[media].Schema
				r.Bodies = append(r.Bodies, Body{Media: media, Type: s.label(), Fields: s.fields("")})
			}
			for status, node := range pairs(op.Responses) {
				bodies, err := d.answers(status, node)
				if err != nil {
					return nil, fmt.Errorf("%s %s: %s: %w", method, path, status, err)
				}
				r.Answers = append(r.Answers, bodies...)
			}
			routes = append(routes, r)
		}
	}
	return routes, nil
}

// answers lists what one status may hold.
func (d description) answers(status string, node *yaml.Node) ([]Body, error) {
	var r response
	if err := node.Decode(&r); err != nil {
		return nil, err
	}
	if r.Ref != "" {
		r = d.Components.Responses[last(r.Ref)]
	}
	if len(r.Content) == 0 {
		return []Body{{Status: status, Description: r.Description}}, nil
	}
	var bodies []Body
	for _, media := range sorted(r.Content) {
		s := r.Content[media].Schema
		bodies = append(bodies, Body{status, r.Description, media, s.label(), s.fields("")})
	}
	return bodies, nil
}

func (d description) schemas() ([]Schema, error) {
	var out []Schema
	for name, node := range pairs(d.Components.Schemas) {
		var s schema
		if err := node.Decode(&s); err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		out = append(out, Schema{id("schema-" + name), name, s.Description, s.label(), s.fields("")})
	}
	return out, nil
}

// pairs walks a mapping in the order it was written.
func pairs(n yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := n.Content[i+1]
			if value.Kind == yaml.AliasNode {
				value = value.Alias
			}
			if !yield(n.Content[i].Value, value) {
				return
			}
		}
	}
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func last(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

func cmpText(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// id makes an anchor of a name: what is no letter or digit is a hyphen.
func id(name string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			return c
		}
		return '-'
	}, name), "-")
}
