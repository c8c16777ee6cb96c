// Package storetest gives tests a PostgreSQL server of their own.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec" //nolint:depguard // a package of tests: it starts the server that they use
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// errMissing says how to get what isn't there.
var errMissing = errors.New("PostgreSQL is not installed: run scripts/postgres.sh")

// Postgres gives the URL of a new, empty database. The server is started once for the test process and
// ends with it, however that ends. Where PostgreSQL isn't installed the test is skipped, or fails if the
// environment's RIPOSTE_TEST_REQUIRE lists postgres.
func Postgres(tb testing.TB) string {
	tb.Helper()
	server, err := shared()
	if errors.Is(err, errMissing) && !required() {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return server.Database(tb)
}

func required() bool {
	list := os.Getenv("RIPOSTE_TEST_REQUIRE") //nolint:forbidigo // it is about the tests, not the product
	return slices.Contains(strings.Split(list, ","), "postgres")
}

var shared = sync.OnceValues(func() (*Server, error) { //nolint:gochecknoglobals // one server a process
	return start(context.Background(), "removed")
})

// Own starts a server for one test, which may stop and start it.
func Own(tb testing.TB) *Server {
	tb.Helper()
	server, err := start(tb.Context(), "kept")
	if errors.Is(err, errMissing) && !required() {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(server.end)
	return server
}

// Server is a PostgreSQL server in a folder of its own, reached by a socket in it.
type Server struct {
	folder string
	bin    string
	as     *syscall.SysProcAttr
	keeper *exec.Cmd // a shell that ends the server when its standard input ends
	line   interface{ Close() error }
	fate   string // of the folder when the server ends: kept or removed
	made   atomic.Int64
}

// start makes a cluster and starts its server.
func start(ctx context.Context, fate string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, fate: fate}
	if s.folder, err = os.MkdirTemp("", "riposte-pg-"); err != nil {
		return nil, fmt.Errorf("make folder for PostgreSQL: %w", err)
	}
	if err := s.dropRoot(); err != nil {
		return nil, err
	}
	if out, err := s.command(ctx, "initdb", "--no-sync", "-A", "trust", "-U", "riposte", "-E", "UTF8", "--locale=C", "-D", s.data()).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.up(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// binaries finds the folder of the newest server.
func binaries() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
		return filepath.Dir(found[len(found)-1]), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", errMissing
	}
	return filepath.Dir(initdb), nil
}

// dropRoot lets another user own the cluster where we are root: the server refuses to run as root.
func (s *Server) dropRoot() error {
	if os.Getuid() != 0 {
		return nil
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		other, err = user.Lookup("nobody")
	}
	if err != nil {
		return fmt.Errorf("find a user for PostgreSQL: %w", err)
	}
	uid, err := strconv.ParseUint(other.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("user %s: %w", other.Username, err)
	}
	gid, err := strconv.ParseUint(other.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("user %s: %w", other.Username, err)
	}
	s.as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return os.Chown(s.folder, int(uid), int(gid))
}

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // the server's own programs
	cmd.Dir, cmd.SysProcAttr = s.folder, s.as
	return cmd
}

// keep starts the server in the background, and ends it when its standard input does: when this process
// closes it, or is gone.
const keep = `"$1" -D "$2" -k "$3" -c listen_addresses= -c max_connections=200 >>"$3/log" 2>&1 & server=$!
cat >/dev/null; kill -INT $server; wait $server; test "$4" = kept || rm -rf "$3"`

// up starts the server and waits until it answers.
func (s *Server) up(ctx context.Context) error {
	s.keeper = exec.Command("/bin/sh", "-c", keep, "sh", filepath.Join(s.bin, "postgres"), s.data(), s.folder, s.fate) //nolint:gosec,noctx // it outlives any context
	s.keeper.Dir, s.keeper.SysProcAttr = s.folder, s.as
	line, err := s.keeper.StdinPipe()
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	s.line = line
	if err := s.keeper.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL did not start: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Stop ends the server as an operator would in a hurry: connections are cut.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.down(); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) down() error {
	if err := s.line.Close(); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	if err := s.keeper.Wait(); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	return nil
}

// Start starts the server again after Stop.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.up(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) end() {
	_ = s.down() // a test may have stopped it
	_ = os.RemoveAll(s.folder)
}

// Database makes an empty database and gives its URL.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	ctx := tb.Context()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	name := fmt.Sprintf("test_%d", s.made.Add(1))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		tb.Fatal(err)
	}
	if err := conn.Close(ctx); err != nil {
		tb.Fatal(err)
	}
	return s.url(name)
}

func (s *Server) url(database string) string {
	address := url.URL{Scheme: "postgres", User: url.User("riposte"), Path: "/" + database, RawQuery: url.Values{"host": {s.folder}}.Encode()}
	return address.String()
}
