package deployment_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The image builds from the Dockerfile without a network, on a base that holds
// this machine's own Go, and the program in it runs as the user it is meant for.
func TestImage(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Fatalf("%v: make install installs it", err)
	}
	dir := t.TempDir()
	flags := []string{"--storage-driver", "vfs", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run")}
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), env...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.Bytes())
		}
		return strings.TrimSpace(string(out))
	}
	buildah := func(args ...string) string {
		t.Helper()
		return run(nil, "buildah", append(append([]string{}, flags...), args...)...)
	}
	goEnv := func(name string) string {
		t.Helper()
		return run(nil, "go", "env", name)
	}

	// The build image: a shell for the Dockerfile's RUN, what it is linked with,
	// and certificates. Go, modules and the build cache are mounted, not copied.
	base := buildah("from", "scratch")
	for _, file := range append(linked(t, "/bin/sh"), "/etc/ssl/certs/ca-certificates.crt") {
		buildah("copy", base, resolved(t, file), file)
	}
	for _, setting := range []string{
		"PATH=/usr/local/go/bin:/bin", "GOMODCACHE=/modules", "GOCACHE=/cache", "GOPROXY=off", "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly", "TMPDIR=/cache",
	} {
		buildah("config", "--env", setting, base)
	}
	buildah("commit", "-q", base, "localhost/build")
	mount := func(from, to, options string) string {
		t.Helper()
		return " -v " + resolved(t, from) + ":" + to + options
	}
	env := []string{
		"ENGINE=buildah",
		"IMAGE=localhost/wattledger",
		"VERSION=v0.0.0-image-test",
		"BUILD_IMAGE=localhost/build",
		"BUILDAH_FLAGS=" + strings.Join(flags, " "),
		"BUILD_FLAGS=-q --pull-never" + mount(goEnv("GOROOT"), "/usr/local/go", ":ro") + mount(goEnv("GOMODCACHE"), "/modules", ":ro") + mount(goEnv("GOCACHE"), "/cache", ""),
	}
	run(env, "./image.sh", "build")

	var image struct {
		OCIv1 struct {
			Config struct {
				User       string
				Entrypoint []string
				Cmd        []string
				Volumes    map[string]struct{}
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(buildah("inspect", "--type", "image", "localhost/wattledger")), &image); err != nil {
		t.Fatal(err)
	}
	config := image.OCIv1.Config
	if _, ok := config.Volumes["/data"]; !ok || config.User != "65532:65532" {
		t.Errorf("image has user %q and volumes %v, want 65532:65532 and /data", config.User, config.Volumes)
	}
	if got := strings.Join(append(config.Entrypoint, config.Cmd...), " "); got != "/usr/local/bin/wattledger serve --storage.path=/data --web.listen-address=:9201" {
		t.Errorf("image runs %q", got)
	}

	if got := run(env, "./image.sh", "run", "version"); !strings.Contains(got, "v0.0.0-image-test") {
		t.Errorf("wattledger version in the image says %q", got)
	}
}

// linked returns file and the shared libraries it needs.
func linked(t *testing.T, file string) []string {
	t.Helper()
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", file, err)
	}
	files := []string{file}
	for _, m := range regexp.MustCompile(`(?m)(/\S+) \(0x`).FindAllSubmatch(out, -1) {
		files = append(files, string(m[1]))
	}
	return files
}

func resolved(t *testing.T, file string) string {
	t.Helper()
	name, err := filepath.EvalSymlinks(file)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
