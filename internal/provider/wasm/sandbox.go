package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// pagesPerMiB is how many of WebAssembly's pages, of 64 KiB, are a MiB.
	pagesPerMiB = 16
	// longestComplaint is how much of a module's standard error is kept, in bytes.
	longestComplaint = 2 << 10
	// atOnce is how many modules run at the same time: each has memory of its own.
	atOnce = 4
)

var (
	errTooLong = errors.New("it runs too long")
	errTooMuch = errors.New("it writes too much")
)

// sandbox is what modules run in. Its runtime is made when the first one is run.
type sandbox struct {
	timeout time.Duration
	memory  int // MiB

	once    sync.Once
	runtime wazero.Runtime
	failed  error
	slots   chan struct{}
}

// module is a file with a module, compiled once it is run.
type module struct {
	name, path string
	pin        string // SHA-256 in hexadecimal; "" if there is none

	mu       sync.RWMutex // held for reading as long as what is compiled is run
	compiled wazero.CompiledModule
	size     int64 // of the file that was compiled
	written  time.Time
}

// open makes the runtime, with WASI and nothing else.
func (s *sandbox) open(ctx context.Context) error {
	s.once.Do(func() {
		s.slots = make(chan struct{}, atOnce)
		//nolint:gosec // New has bounded it
		limits := wazero.NewRuntimeConfig().WithMemoryLimitPages(uint32(s.memory * pagesPerMiB)).WithCloseOnContextDone(true)
		s.runtime = wazero.NewRuntimeWithConfig(ctx, limits)
		_, s.failed = wasi_snapshot_preview1.Instantiate(ctx, s.runtime)
	})
	return s.failed
}

// run gives a module its input and returns what it writes. What the module does wrong is of kind Invalid: it would do
// so again.
func (s *sandbox) run(ctx context.Context, m *module, input []byte) ([]byte, error) {
	if err := s.open(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("make a sandbox: %w", err)
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Transient, context.Cause(ctx))
	}
	if err := m.compile(ctx, s.runtime); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	running, cancel := context.WithTimeoutCause(running, s.timeout, errTooLong)
	defer cancel()
	output := &bounded{most: largestOutput, full: func() { stop(errTooMuch) }}
	complaint := &bounded{most: longestComplaint}
	instance, err := s.runtime.InstantiateModule(running, m.compiled, wazero.NewModuleConfig().WithName("").WithArgs(m.name).
		WithStdin(bytes.NewReader(input)).WithStdout(output).WithStderr(complaint))
	if instance != nil {
		err = errors.Join(err, instance.Close(context.WithoutCancel(ctx)))
	}
	return output.text.Bytes(), s.judge(ctx, running, m.name, err, complaint.text.Bytes())
}

// judge says how a run ended. outer ends with the process or the step, running with the module's time, too.
func (s *sandbox) judge(outer, running context.Context, name string, err error, complaint []byte) error {
	exit, exited := errors.AsType[*sys.ExitError](err)
	ended := exited && (exit.ExitCode() == sys.ExitCodeDeadlineExceeded || exit.ExitCode() == sys.ExitCodeContextCanceled)
	switch {
	case errors.Is(context.Cause(running), errTooMuch):
		return fault.New(fault.Invalid, "module %s writes more than %d bytes", name, largestOutput)
	case err == nil, exited && exit.ExitCode() == 0:
		return nil
	case ended && outer.Err() != nil:
		return fault.New(fault.Transient, "module %s was ended: %w", name, context.Cause(outer))
	case ended:
		return fault.WithHint(fault.New(fault.Invalid, "module %s does not end within %s", name, s.timeout), "wasm.timeout says how long it may run")
	case exited:
		return fault.New(fault.Invalid, "module %s exits with %d: %s", name, exit.ExitCode(), legible(complaint))
	}
	what, _, _ := strings.Cut(err.Error(), "\n") // the rest is a stack
	return fault.New(fault.Invalid, "module %s: %s %s", name, legible([]byte(what)), legible(complaint))
}

// compile makes the module ready to be run, unless what is in its file was compiled before.
func (m *module) compile(ctx context.Context, runtime wazero.Runtime) error {
	about, err := os.Stat(m.path)
	if err != nil {
		return fault.New(fault.NotFound, "module %s: its file can't be read: %w", m.name, err)
	}
	m.mu.RLock()
	ready := m.compiled != nil && m.size == about.Size() && m.written.Equal(about.ModTime())
	m.mu.RUnlock()
	if ready {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	binary, err := m.read()
	if err != nil {
		return err
	}
	if binary, err = capTables(binary); err != nil {
		return fault.New(fault.Invalid, "module %s: %w", m.name, err)
	}
	made, err := runtime.CompileModule(ctx, binary)
	if err != nil {
		return fault.New(fault.Invalid, "module %s: %s", m.name, legible([]byte(err.Error())))
	}
	if m.compiled != nil {
		err = m.compiled.Close(ctx)
	}
	m.compiled, m.size, m.written = made, about.Size(), about.ModTime()
	return err
}

// read reads the module's file, and compares it with its pin.
func (m *module) read() ([]byte, error) {
	file, err := os.Open(m.path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "module %s: its file can't be read: %w", m.name, err)
	}
	binary, err := io.ReadAll(io.LimitReader(file, largestModule+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fault.New(fault.Transient, "read module %s: %w", m.name, err)
	}
	if len(binary) > largestModule {
		return nil, fault.New(fault.Invalid, "module %s is larger than %d bytes", m.name, largestModule)
	}
	if sum := sha256.Sum256(binary); m.pin != "" && m.pin != hex.EncodeToString(sum[:]) {
		return nil, fault.WithHint(fault.New(fault.Denied, "module %s is not the one that wasm.pins.%s names: its SHA-256 is %x", m.name, m.name, sum),
			"find out who changed it; if it was you, change the pin")
	}
	return binary, nil
}

// bounded keeps what is written to it up to a bound. It says when there is more, or else forgets it.
type bounded struct {
	text bytes.Buffer
	most int
	full func()
}

// Write keeps what there is room for. It fails where there is none, and somebody is to know.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.text.Len()
	if len(p) <= room {
		return b.text.Write(p)
	}
	b.text.Write(p[:room])
	if b.full == nil {
		return len(p), nil
	}
	b.full()
	return room, io.ErrShortWrite
}

// legible is the beginning of a text as one line that can be printed.
func legible(text []byte) string {
	const longest = 300
	cut := strings.ToValidUTF8(string(text[:min(len(text), longest)]), "")
	return strings.Join(strings.FieldsFunc(cut, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " ")
}
