package wasm_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/providertest"
	"github.com/riposte-sec/riposte/internal/provider/wasm"
)

// probe runs the module of testdata, built by Go itself: once for all tests, since compiling it takes a second.
var probe = sync.OnceValues(func() (action.Action, error) {
	out := filepath.Join(scratch, "probe.wasm")
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/probe")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build probe: %w: %s", err, text)
	}
	made, err := wasm.New(wasm.Config{Modules: scratch, Timeout: 30 * time.Second})
	if err != nil {
		return nil, err
	}
	return made.Actions()[0], nil
})

// scratch is the folder of the module that all tests share.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(inScratch(m))
}

// inScratch runs the tests with the folder that they share.
func inScratch(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "probe"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(scratch)
	return m.Run()
}

func probing(t *testing.T) action.Action { //nolint:ireturn // it is the provider's
	t.Helper()
	do, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	return do
}

// folder is one with modules by name.
func folder(t *testing.T, modules map[string][]byte) string {
	t.Helper()
	at := t.TempDir()
	for name, module := range modules {
		if err := os.WriteFile(filepath.Join(at, name+".wasm"), module, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return at
}

// running makes the action that runs modules.
func running(t *testing.T, c wasm.Config) action.Action { //nolint:ireturn // it is the provider's
	t.Helper()
	made, err := wasm.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return made.Actions()[0]
}

func input(module string, given map[string]any) action.Input {
	return action.Input{
		Params: action.Params{"module": module, "input": given}, Incident: "INC-1", Run: "run-1", Step: "compute", Reason: "Riposte playbook test", Token: "t",
	}
}

// ask runs a module and gives its output as JSON.
func ask(t *testing.T, do action.Action, module string, given map[string]any) (string, error) {
	t.Helper()
	change, err := do.Plan(t.Context(), input(module, given))
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(change.Outputs["output"])
	return string(text), err
}

func TestKeepsTheContract(t *testing.T) {
	t.Parallel()
	do := probing(t)
	providertest.Contract(t, providertest.Case{
		Action: do, Input: input("probe", map[string]any{"do": "echo", "echo": map[string]any{"a": 1.0}}), State: func(*testing.T) string { return "" },
	})
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	do := probing(t)
	for what, want := range map[string]string{
		"echo": `{"args":["probe"],"echo":{"host":"web-1"},"env":0}`, "list": `{"value":[1,2,3]}`, "nothing": `{}`,
	} {
		if got, err := ask(t, do, "probe", map[string]any{"do": what, "echo": map[string]any{"host": "web-1"}}); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", what, got, err, want)
		}
	}
	for what, want := range map[string]string{
		"text": "answers what is not JSON: not JSON", "fail": "exits with 3: no such host:", "panic": "exits with 2: panic: at the disco",
		"large": "writes more than 65536 bytes", "memory": "out of memory",
	} {
		_, err := ask(t, do, "probe", map[string]any{"do": what})
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || len(err.Error()) > 700 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: got %v of kind %s, want a legible error of kind invalid with %q", what, err, fault.KindOf(err), want)
		}
	}
}

// What is outside can't be reached, and time and chance are the same every time.
func TestThereIsNothingOutside(t *testing.T) {
	t.Parallel()
	var first string
	for range 2 {
		got, err := ask(t, probing(t), "probe", map[string]any{"do": "reach"})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`"read":true`, `"list":true`, `"write":true`, `"dial":true`, `"year":2022`} { // all of it fails
			if !strings.Contains(got, want) {
				t.Errorf("the module reaches out: got %s, want %s", got, want)
			}
		}
		if first != "" && got != first {
			t.Errorf("the same input gives %s and %s", first, got)
		}
		first = got
	}
}

// Hand-made binaries, of the core specification's format.
const (
	i32    = 0x7f
	end    = 0x0b
	drop   = 0x1a
	trap   = 0x00 // unreachable
	loop   = 0x03
	branch = 0x0c
	void   = 0x40
	call   = 0x10
)

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func section(id byte, content ...byte) []byte {
	return append(append([]byte{id}, leb(len(content))...), content...)
}

func text(s string) []byte { return append(leb(len(s)), s...) }

// assembled is a module whose _start has a body. It has a memory of a page, and one of 65536 pages at most.
func assembled(tables, imports []byte, imported int, body ...byte) []byte {
	types := []byte{2, 0x60, 0, 0, 0x60, 4, i32, i32, i32, i32, 1, i32}
	code := append(append([]byte{0}, body...), end)
	code = append([]byte{1}, append(leb(len(code)), code...)...)
	exports := slices.Concat([]byte{2}, text("memory"), []byte{2, 0}, text("_start"), []byte{0, byte(imported)})
	parts := [][]byte{[]byte("\x00asm\x01\x00\x00\x00"), section(1, types...)}
	if len(imports) > 0 {
		parts = append(parts, section(2, append([]byte{1}, imports...)...))
	}
	parts = append(parts, section(3, 1, 0))
	if len(tables) > 0 {
		parts = append(parts, section(4, tables...))
	}
	parts = append(parts, section(5, 1, 0, 1), section(7, exports...), section(10, code...))
	return slices.Concat(parts...)
}

func imported(module, name string, kind byte) []byte {
	return slices.Concat(text(module), text(name), []byte{0, kind})
}

func constant(n int32) []byte {
	signed := []byte{0x41}
	for {
		low := byte(n & 0x7f)
		if n >>= 7; n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(signed, low)
		}
		signed = append(signed, low|0x80)
	}
}

// hostile are modules that want more than they may have.
func hostile() map[string][]byte {
	endless := []byte{loop, void, branch, 0, end}
	// Takes as much as it gets, and is found out only by what it gets: it traps unless it got anything.
	failed := []byte{0x41, 0x7f, 0x46, 0x04, void, trap, end} // == -1 → unreachable
	write := slices.Concat([]byte{loop, void},
		constant(0), constant(16), []byte{0x36, 2, 0}, constant(4), constant(60000), []byte{0x36, 2, 0}, // iovec at 0: from 16, 60000 bytes
		constant(1), constant(0), constant(1), constant(8), []byte{call, 0, drop, branch, 0, end})
	big := binary.AppendUvarint(nil, 1<<27)
	return map[string][]byte{
		"endless":   assembled(nil, nil, 0, endless...),
		"output":    assembled(nil, imported("wasi_snapshot_preview1", "fd_write", 1), 1, write...),
		"memory":    assembled(nil, nil, 0, append(append(constant(40000), 0x40, 0), failed...)...),
		"table":     assembled([]byte{1, 0x70, 0, 1}, nil, 0, slices.Concat([]byte{0xd0, 0x70}, constant(1<<30), []byte{0xfc, 15, 0}, failed)...),
		"tables":    assembled(append([]byte{1, 0x70, 0}, big...), nil, 0),
		"many":      assembled(append([]byte{200, 1}, bytes.Repeat([]byte{0x70, 0, 1}, 200)...), nil, 0),
		"recursion": assembled(nil, nil, 0, call, 0),
		"import":    assembled(nil, imported("env", "connect", 0), 1),
		"network":   assembled(nil, imported("wasi_snapshot_preview1", "sock_connect", 0), 1),
		"empty":     {},
		"broken":    []byte("\x00asm\x01\x00\x00\x00\x01\xff\xff\xff\xff\x0f"),
		"version":   []byte("\x00asm\x0d\x00\x01\x00"),
		"garbage":   slices.Concat([]byte("\x00asm\x01\x00\x00\x00"), section(10, 1, 2, 3)),
	}
}

func TestHostileModules(t *testing.T) {
	t.Parallel()
	do := running(t, wasm.Config{Modules: folder(t, hostile()), Timeout: 300 * time.Millisecond, Memory: 8})
	for name, want := range map[string]string{
		"endless": "does not end within 300ms", "output": "writes more than 65536 bytes", "memory": "unreachable", "table": "unreachable",
		"tables": "too large", "many": "too many tables", "recursion": "stack overflow", "import": "module[env] not instantiated",
		"network": "sock_connect", "empty": "no WebAssembly module", "broken": "no WebAssembly module", "version": "no WebAssembly module", "garbage": "module garbage: ",
	} {
		began := time.Now()
		_, err := ask(t, do, name, nil)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) || len(err.Error()) > 700 {
			t.Errorf("%s: got %v of kind %s, want an error of kind invalid with %q", name, err, fault.KindOf(err), want)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// A hand-made module that does nothing wrong is run: it isn't the making that the others fail by.
func TestHandMadeModulesRun(t *testing.T) {
	t.Parallel()
	do := running(t, wasm.Config{Modules: folder(t, map[string][]byte{
		"idle": assembled([]byte{1, 0x70, 0, 1}, imported("wasi_snapshot_preview1", "fd_write", 1), 1),
		"grow": assembled([]byte{1, 0x70, 1, 1, 10}, nil, 0, 0xd0, 0x70, 0x41, 9, 0xfc, 15, 0, 0x41, 0x7f, 0x46, 0x04, void, trap, end), // its table, within its own bound
	})})
	for _, name := range []string{"idle", "grow"} {
		if got, err := ask(t, do, name, nil); err != nil || got != "{}" {
			t.Errorf("%s: got %s, %v, want nothing", name, got, err)
		}
	}
}

// Whoever ends the step ends the module, and that passes.
func TestEndsWithTheStep(t *testing.T) {
	t.Parallel()
	do := running(t, wasm.Config{Modules: folder(t, hostile())})
	gone := errors.New("the process ends")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, gone)
	defer cancel()
	if _, err := do.Plan(ctx, input("endless", nil)); !fault.Is(err, fault.Transient) || !errors.Is(err, gone) {
		t.Errorf("got %v of kind %s, want an error of kind transient", err, fault.KindOf(err))
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	do := probing(t)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			want := fmt.Sprintf(`{"args":["probe"],"echo":{"n":%d},"env":0}`, i)
			if got, err := ask(t, do, "probe", map[string]any{"do": "echo", "echo": map[string]any{"n": i}}); err != nil || got != want {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		})
	}
	group.Wait()
}

// A module that is replaced is the new one from then on; one that isn't what its pin says is not run.
func TestReplacedModules(t *testing.T) {
	t.Parallel()
	idle, endless := assembled(nil, nil, 0), hostile()["endless"]
	at := folder(t, map[string][]byte{"a": idle, "pinned": idle})
	sum := sha256.Sum256(idle)
	do := running(t, wasm.Config{Modules: at, Pins: map[string]string{"pinned": strings.ToUpper(hex.EncodeToString(sum[:]))}, Timeout: 100 * time.Millisecond})
	for _, name := range []string{"a", "pinned"} {
		if _, err := ask(t, do, name, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(at, name+".wasm"), endless, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ask(t, do, "a", nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "does not end") {
		t.Errorf("replaced: got %v, want that it doesn't end", err)
	}
	if _, err := ask(t, do, "pinned", nil); !fault.Is(err, fault.Denied) || !strings.Contains(err.Error(), "wasm.pins.pinned") {
		t.Errorf("replaced and pinned: got %v, want it denied", err)
	}
	if err := os.Remove(filepath.Join(at, "a.wasm")); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, do, "a", nil); !fault.Is(err, fault.NotFound) {
		t.Errorf("removed: got %v, want an error of kind not_found", err)
	}
	if _, err := ask(t, do, "../a", nil); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "there are a, pinned") {
		t.Errorf("got %v, want the modules that there are", err)
	}
	if _, err := ask(t, do, "pinned", map[string]any{"a": strings.Repeat("x", 1<<20)}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "input: ") {
		t.Errorf("a large input: got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	at := folder(t, map[string][]byte{"a": nil})
	for want, c := range map[string]wasm.Config{
		"wasm.timeout: ":     {Modules: at, Timeout: time.Hour},
		"wasm.memory: ":      {Modules: at, Memory: 5000},
		"wasm.modules: list": {Modules: filepath.Join(at, "absent")},
		`wasm.modules: "A.`:  {Modules: folder(t, map[string][]byte{"A": nil})},
		"wasm.pins.a: it is": {Modules: at, Pins: map[string]string{"a": "abc"}},
		"wasm.pins.b: there": {Modules: at, Pins: map[string]string{"b": strings.Repeat("0", 64)}},
	} {
		if _, err := wasm.New(c); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it invalid with %q", err, want)
		}
	}
	if none, err := wasm.New(wasm.Config{}); err != nil || len(none.Actions()) != 0 {
		t.Errorf("got %v, want no actions where nothing is configured", err)
	}
}

func TestConfigIsReadFromYAML(t *testing.T) {
	t.Parallel()
	var c wasm.Config
	err := document.Decode("riposte.yaml", []byte("modules: wasm\npins: {enrich: 00ff}\ntimeout: 2s\nmemory: 32\n"), &c)
	if err != nil || c.Modules != "wasm" || c.Pins["enrich"] != "00ff" || c.Timeout != 2*time.Second || c.Memory != 32 {
		t.Errorf("got %+v, %v", c, err)
	}
}
