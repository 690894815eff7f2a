package strictyaml

import "testing"

func TestDecode(t *testing.T) {
	f := func(file, want string) {
		t.Helper()
		var doc struct {
			Rows []struct {
				Name string `yaml:"name"`
				Size int    `yaml:"size"`
			} `yaml:"rows"`
		}
		got := ""
		if err := Decode([]byte(file), &doc); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Decode(%q): %q, want %q", file, got, want)
		}
	}
	f("", "")
	f("rows: [{name: a, size: 1}]", "")
	f("rows:\n- nmae: a", `line 2: unknown key "nmae"`)
	f("rows: []\n---\nrows: []", "more than one YAML document")
	f("rows: [", "line 1: did not find expected node content")
}
