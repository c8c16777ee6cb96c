package cli_test

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestVerifyFindsWhatWasTamperedWith(t *testing.T) {
	h := newHouse(t)
	h.happened()
	h.write("head", h.ask("ledger", "checkpoint").fine().out)
	h.ask("freeze", "--reason", "one more").fine()
	export := h.path("ledger.jsonl")
	h.ask("ledger", "export", "-o", export).fine().says("riposte ledger verify " + export)
	h.ask("ledger", "export", "-o", export).ends(1, "exists")
	text, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	if got := h.ask("ledger", "export", "-o", "-").fine(); got.out != string(text) {
		t.Error("what is written to standard output is another export")
	}
	report := decoded[struct {
		OK     bool
		Report struct{ Verifier string }
	}](riposte(t, "ledger", "verify", export, "--json"))
	key := report.Report.Verifier
	riposte(t, "ledger", "verify", export).fine().says("as it was written", "give --key")
	riposte(t, "ledger", "verify", export, "--key", key, "--checkpoint", h.path("head")).fine().says("as it was written")

	lines := strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")
	entries := len(lines) - 2 // between the header and the checkpoint
	for name, changed := range map[string][]string{
		"changed byte":   replaced(lines, 2, strings.Replace(lines[2], "i", "l", 1)),
		"deleted row":    slices.Delete(slices.Clone(lines), 2, 3),
		"added row":      slices.Insert(slices.Clone(lines), 2, lines[2]),
		"reordered pair": replaced(replaced(lines, 2, lines[3]), 3, lines[2]),
		"cut tail":       lines[:entries],
		"no checkpoint":  lines[:len(lines)-1],
		"nothing":        {},
		"another file":   {"{\"a\": 1}\n"},
	} {
		h.write("changed", strings.Join(changed, ""))
		got := riposte(t, "ledger", "verify", h.path("changed"), "--checkpoint", h.path("head"))
		if slices.Equal(changed, lines) {
			t.Errorf("%s: the export was not changed", name)
		}
		got.ends(3, "TAMPERED WITH")
		if strings.Contains(got.out, "{") {
			t.Errorf("%s: people read a structure of Go: %s", name, got.out)
		}
		riposte(t, "ledger", "verify", h.path("changed"), "--json").ends(3, `"ok": false`)
	}
	riposte(t, "ledger", "verify", export, "--key", strings.Replace(key, "+", "+0", 1)).ends(3, "TAMPERED WITH")
	riposte(t, "ledger", "verify", h.path("nowhere")).ends(1, "nowhere")
	riposte(t, "ledger", "verify", export, "--checkpoint", h.path("nowhere")).ends(1, "checkpoint")
}

// A whole ledger of somebody's own that begins anew verifies by itself: a saved checkpoint shows it.
func TestACutTailShowsAgainstASavedCheckpoint(t *testing.T) {
	h := newHouse(t)
	h.ask("freeze", "--reason", "first").fine()
	h.ask("ledger", "export", "-o", h.path("short")).fine()
	h.ask("freeze", "account", "123456789012", "--reason", "second").fine()
	h.write("head", h.ask("ledger", "checkpoint").fine().out)
	riposte(t, "ledger", "verify", h.path("short")).fine()
	riposte(t, "ledger", "verify", h.path("short"), "--checkpoint", h.path("head")).ends(3, "TAMPERED WITH")
}

func replaced(lines []string, at int, line string) []string {
	changed := slices.Clone(lines)
	changed[at] = line
	return changed
}
