// Package casetest reads cases: the remote-write requests that a receiver gets,
// in the order in which they arrive, and the energies that follow from the
// counters alone. A case is a text file of lines:
//
//	case NAME                      what it is about
//	why TEXT                       why the expected energies are right; may repeat
//	protocol 1.0                   the version of the requests, or 2.0
//	series ID name{label="value"}  a series, by a short name
//	send                           a request begins; the lines below are its samples
//	ID VALUE @SECOND               a sample; second 0 is a whole minute of the recent past
//	kill                           SIGKILL, then a new start on the same folder
//	expect WHAT NAME LEAST MOST    joules of a container (or VM) by its id, of the named
//	                               containers, of a node, or of its idle, system or
//	                               unattributed energy
package casetest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Case is one file.
type Case struct {
	File     string // without its folder and its ending
	Name     string
	Protocol string
	Steps    []Step
	Expect   []Expectation
}

// A Step is one request, or the end of the process.
type Step struct {
	Kill    bool
	Samples []Sample
}

// A Sample is one value of one series.
type Sample struct {
	Labels []Label // sorted by name, with __name__
	Value  float64
	Second float64
}

// A Label is a name and a value.
type Label struct{ Name, Value string }

// An Expectation bounds the joules of something.
type Expectation struct {
	What, Name  string
	Least, Most float64
}

func (e Expectation) String() string {
	return fmt.Sprintf("%s %s %.3f to %.3f J", e.What, e.Name, e.Least, e.Most)
}

// All reads every case in a folder.
func All(t testing.TB, dir string) []Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.case"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	slices.Sort(files)
	var all []Case
	for _, file := range files {
		c, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

func read(file string) (Case, error) {
	f, err := os.Open(file)
	if err != nil {
		return Case{}, err
	}
	defer f.Close()
	c := Case{File: strings.TrimSuffix(filepath.Base(file), ".case"), Protocol: "1.0"}
	series := map[string][]Label{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if err := c.line(lines.Text(), series); err != nil {
			return Case{}, fmt.Errorf("%s:%d: %w", file, n, err)
		}
	}
	return c, lines.Err()
}

func (c *Case) line(line string, series map[string][]Label) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "", "why":
	case "case":
		c.Name = rest
	case "protocol":
		c.Protocol = rest
	case "series":
		id, text, _ := strings.Cut(rest, " ")
		labels, err := parseSeries(text)
		series[id] = labels
		return err
	case "send":
		c.Steps = append(c.Steps, Step{})
	case "kill":
		c.Steps = append(c.Steps, Step{Kill: true})
	case "expect":
		var e Expectation
		_, err := fmt.Sscanf(rest, "%s %s %g %g", &e.What, &e.Name, &e.Least, &e.Most)
		c.Expect = append(c.Expect, e)
		return err
	default:
		labels, ok := series[word]
		if !ok || len(c.Steps) == 0 {
			return fmt.Errorf("%q is neither a word of cases nor a series", word)
		}
		s := Sample{Labels: labels}
		if _, err := fmt.Sscanf(rest, "%g @%g", &s.Value, &s.Second); err != nil {
			return err
		}
		last := &c.Steps[len(c.Steps)-1]
		last.Samples = append(last.Samples, s)
	}
	return nil
}

// parseSeries reads name{label="value",…}.
func parseSeries(text string) ([]Label, error) {
	name, rest, ok := strings.Cut(text, "{")
	block, found := strings.CutSuffix(rest, "}")
	if !ok || !found {
		return nil, fmt.Errorf("not a series: %s", text)
	}
	labels := []Label{{"__name__", name}}
	for block != "" {
		label, after, _ := strings.Cut(block, "=")
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return nil, fmt.Errorf("%s: label %s: %w", text, label, err)
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("%s: label %s: %w", text, label, err)
		}
		labels = append(labels, Label{label, value})
		block = strings.TrimPrefix(after[len(quoted):], ",")
	}
	slices.SortFunc(labels, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return labels, nil
}
