package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wattledger/wattledger/internal/suggest"
)

// read takes the keys that file has into c and leaves the others as they are. A
// key nobody knows is an error with its name and line.
func (c *Config) read(file []byte) error {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(file))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // empty
		}
		return plainYAML(err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	if len(doc.Content) == 0 {
		return nil
	}
	return c.take(doc.Content[0])
}

// set takes one value into c. key is the path of a key, joined by dots.
func (c *Config) set(key, value string) error {
	node := &yaml.Node{Kind: yaml.ScalarNode, Value: value}
	path := strings.Split(key, ".")
	for i := len(path) - 1; i >= 0; i-- {
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: path[i]}
		node = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{name, node}}
	}
	if err := c.take(node); err != nil {
		// There is no line, and the key says less than the name of what was set.
		text := strings.TrimPrefix(err.Error(), "line 0: ")
		return errors.New(strings.TrimPrefix(text, key+": "))
	}
	return nil
}

func (c *Config) take(node *yaml.Node) error {
	wrong := plain(node, reflect.TypeFor[Config](), "")
	if wrong != nil && node.Kind != yaml.MappingNode {
		return wrong
	}
	// What is wrong is out of the document; the rest is looked at all the same.
	if err := node.Decode(c); err != nil {
		return errors.Join(wrong, plainYAML(err))
	}
	return wrong
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	unmarshaler  = reflect.TypeFor[yaml.Unmarshaler]()
)

// plain walks a document beside the type it is meant for, finds unknown keys,
// takes these and wrong values out, so that all of them are found at once,
// and turns durations (5m, 30d) and sizes (32MiB) into what the YAML package
// understands.
func plain(node *yaml.Node, t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if node.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: %s: aliases are not understood here", node.Line, path)
	}
	if node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" {
		node.Tag = "!!null"
		return nil // a section without keys
	}
	switch {
	case t == durationType:
		d, err := duration(node.Value)
		if err != nil || node.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: %s: %q is no duration such as 30s, 5m, 12h or 30d", node.Line, path, node.Value)
		}
		node.Tag, node.Value = "!!str", d.String()
	case reflect.PointerTo(t).Implements(unmarshaler):
		return nil // it says itself what it takes
	case t.Kind() == reflect.Struct:
		return plainKeys(node, t, path)
	case t.Kind() == reflect.Map:
		if node.Kind != yaml.MappingNode {
			return fmt.Errorf("line %d: %s: want names, each with what it stands for", node.Line, path)
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if err := plain(node.Content[i+1], t.Elem(), path+"."+node.Content[i].Value); err != nil {
				return err
			}
		}
	case t.Kind() == reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			return fmt.Errorf("line %d: %s: want a list", node.Line, path)
		}
		for _, entry := range node.Content {
			if err := plain(entry, t.Elem(), path); err != nil {
				return err
			}
		}
	case node.Kind != yaml.ScalarNode:
		return fmt.Errorf("line %d: %s: want one value", node.Line, path)
	case strings.HasSuffix(path, "_bytes"):
		n, err := size(node.Value)
		if err != nil {
			return fmt.Errorf("line %d: %s: %q is no size such as 512KiB, 32MiB or 4GiB", node.Line, path, node.Value)
		}
		node.Tag, node.Value, node.Style = "!!int", strconv.FormatInt(n, 10), 0
	case t.Kind() == reflect.String:
		node.Tag = "!!str" // so that a name such as 12 or yes stays one
	default:
		if want := wants(node, t); want != "" {
			return fmt.Errorf("line %d: %s: %q is not %s", node.Line, path, node.Value, want)
		}
	}
	return nil
}

var levelType = reflect.TypeFor[slog.Level]()

// wants says what t needs, when node is not that.
func wants(node *yaml.Node, t reflect.Type) string {
	tag := node.ShortTag()
	switch {
	case t == levelType:
		if new(slog.Level).UnmarshalText([]byte(node.Value)) != nil {
			return "debug, info, warn or error"
		}
	case t.Kind() == reflect.Bool && tag != "!!bool":
		return "true or false"
	case t.Kind() == reflect.Float64 && tag != "!!float" && tag != "!!int":
		return "a number"
	case t.Kind() == reflect.Int && tag != "!!int":
		return "a whole number"
	}
	return ""
}

func plainKeys(node *yaml.Node, t reflect.Type, path string) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s: want keys with values", node.Line, strings.Trim(path+" section", " "))
	}
	fields := map[string]reflect.Type{}
	for _, f := range reflect.VisibleFields(t) { // those of embedded sections too
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	var list faults
	var good []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		full := strings.TrimPrefix(path+"."+key.Value, ".")
		field, ok := fields[key.Value]
		if !ok {
			hint := ""
			if near := suggest.Nearest(key.Value, slices.Collect(maps.Keys(fields))); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			list.add("", fmt.Errorf("line %d: unknown key %q%s", key.Line, full, hint))
			continue
		}
		err := plain(node.Content[i+1], field, full)
		list.add("", err)
		if err == nil || field.Kind() == reflect.Struct && node.Content[i+1].Kind == yaml.MappingNode {
			good = append(good, key, node.Content[i+1])
		}
	}
	node.Content = good
	return list.err()
}

// duration reads what time.ParseDuration does, and days and weeks: 30d, 2w, 1d12h.
func duration(s string) (time.Duration, error) {
	var whole time.Duration
	rest := s
	for _, unit := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 6 || !strings.HasPrefix(rest[digits:], unit.letter) {
			continue
		}
		n, err := strconv.Atoi(rest[:digits])
		if err != nil || time.Duration(n) > (math.MaxInt64-whole)/unit.length {
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		whole += time.Duration(n) * unit.length
		rest = rest[digits+1:]
	}
	if rest == "" && s != "" {
		return whole, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > math.MaxInt64-whole {
		return 0, fmt.Errorf("duration %q", s)
	}
	return whole + d, nil
}

var sizeUnits = map[string]float64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// size reads a number of bytes: 1048576, 32MiB, 1.5GiB.
func size(s string) (int64, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789._"))
	unit, ok := sizeUnits[strings.TrimSpace(s[digits:])]
	if !ok {
		return 0, fmt.Errorf("size %q", s)
	}
	n, err := strconv.ParseFloat(strings.ReplaceAll(s[:digits], "_", ""), 64)
	if err != nil || n*unit >= 1<<62 || n*unit != math.Trunc(n*unit) {
		return 0, fmt.Errorf("size %q", s)
	}
	return int64(n * unit), nil
}

// plainYAML takes Go's type names out of an error of the YAML package.
func plainYAML(err error) error {
	var typeError *yaml.TypeError
	if !errors.As(err, &typeError) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var texts []string
	for _, text := range typeError.Errors {
		if what, _, ok := strings.Cut(text, " into "); ok {
			text = strings.Replace(what, "cannot unmarshal !!", "does not understand the ", 1)
		}
		texts = append(texts, text)
	}
	return errors.New(strings.Join(texts, "; "))
}
