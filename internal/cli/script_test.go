package cli_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/cli"
)

var update = flag.Bool("update", false, "write what the scripts' commands say anew")

// TestScripts runs the commands of testdata/*.txtar. An archive begins with commands, one a line; its files are
// those that they find; the last one, called want, is what they say, standard error included, and how they
// end. Beside riposte there are cat, which shows a file that another command wrote, gzip, and cut.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, path := range scripts {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) { script(t, path) })
	}
}

func script(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	commands, files := archive(string(text))
	dir := t.TempDir()
	t.Chdir(dir)
	for _, file := range files {
		if file.name != "want" {
			write(t, file.name, file.text)
		}
	}
	var said bytes.Buffer
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fmt.Fprintf(&said, "$ %s\n", line)
		perform(t, &said, words(line))
	}
	got := regexp.MustCompile(`events in [0-9.]+ s, [0-9,]+ events/s`).ReplaceAllString(said.String(), "events in N s, N events/s")
	want := files[len(files)-1]
	if *update {
		all := strings.TrimSuffix(string(text), want.text) + got
		if err := os.WriteFile(path, []byte(all), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want.text, got); diff != "" {
		t.Errorf("%s says something else; if it is right, run with -update (-want +got):\n%s", filepath.Base(path), diff)
	}
}

// perform runs one command and writes what it says.
func perform(t *testing.T, said *bytes.Buffer, args []string) {
	t.Helper()
	if args[0] != "riposte" {
		text, err := os.ReadFile(args[1])
		if err != nil {
			t.Fatal(err)
		}
		switch args[0] {
		case "cat":
			said.Write(text)
		case "gzip":
			write(t, args[1]+".gz", zipped(t, text))
		case "cut": // damages a file by taking its end
			write(t, args[1], string(text[:len(text)/2]))
		default:
			t.Fatalf("%s is no command of a script", args[0])
		}
		return
	}
	code := cli.Main(t.Context(), args[1:], cli.Streams{In: strings.NewReader(""), Out: said, Err: said}, "test")
	if code != 0 {
		fmt.Fprintf(said, "[exit %d]\n", code)
	}
}

func zipped(t *testing.T, text []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// words splits a command at its spaces, those within quotes left.
func words(line string) []string {
	var all []string
	for _, word := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		all = append(all, strings.Trim(word, `"`))
	}
	return all
}

type file struct{ name, text string }

// archive takes an archive apart into what stands before the first file, and the files.
func archive(text string) (head string, files []file) {
	marker := regexp.MustCompile(`(?m)^-- (\S+) --\n`)
	at := marker.FindAllStringSubmatchIndex(text, -1)
	for i, place := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		files = append(files, file{name: text[place[2]:place[3]], text: text[place[1]:end]})
	}
	if len(at) == 0 {
		return text, nil
	}
	return text[:at[0][0]], files
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
