// Package awstest gives tests an emulator of AWS's API of their own: moto's server.
package awstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec" //nolint:depguard // a package of tests: it starts the server that they use
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Home is the account that the emulator takes callers without a role to be in.
const Home = "123456789012"

// Region is the region that tests use.
const Region = "eu-central-1"

var errMissing = errors.New("moto's server is not installed: run scripts/moto.sh")

// Emulator gives the endpoint of the test process's emulator. It is started once and ends with the process,
// however that ends. Where moto isn't installed the test is skipped, or fails if the environment's
// RIPOSTE_TEST_REQUIRE lists moto.
//
// Tests that run at the same time use accounts of their own, by Account.
func Emulator(tb testing.TB) string {
	tb.Helper()
	server, err := shared()
	if errors.Is(err, errMissing) && !required() {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return server.endpoint
}

// Own gives the endpoint of an emulator of the test's own: what is in it no other test sees.
func Own(tb testing.TB) string {
	tb.Helper()
	own, err := start(context.WithoutCancel(tb.Context()))
	if errors.Is(err, errMissing) && !required() {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = own.input.Close() }) // that ends it
	return own.endpoint
}

func required() bool {
	list := os.Getenv("RIPOSTE_TEST_REQUIRE") //nolint:forbidigo // it is about the tests, not the product
	return slices.Contains(strings.Split(list, ","), "moto")
}

var accounts atomic.Int64 //nolint:gochecknoglobals // each test has an account of its own

// Account gives the number of an account that no other test of the process uses. The emulator has it as
// soon as a role in it is assumed.
func Account() string { return fmt.Sprintf("%012d", 400000000000+accounts.Add(1)) }

// server is a running emulator. It ends when its input is closed, by us or by our end, so that we must hold on
// to it.
type server struct {
	endpoint string
	input    io.Closer
}

var shared = sync.OnceValues(func() (server, error) { //nolint:gochecknoglobals // one server a process
	return start(context.Background())
})

// find gives the path of moto's server: in the project's private environment, else on PATH.
func find() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the project: %w", err)
	}
	for ; folder != filepath.Dir(folder); folder = filepath.Dir(folder) {
		private := filepath.Join(folder, ".tools", "moto", "bin", "moto_server")
		if _, err := os.Stat(private); err == nil {
			return private, nil
		}
	}
	found, err := exec.LookPath("moto_server")
	if err != nil {
		return "", errMissing
	}
	return found, nil
}

// start starts a server on a free port. A shell that reads from us ends it when we end.
func start(ctx context.Context) (server, error) {
	path, err := find()
	if err != nil {
		return server{}, err
	}
	port, err := free(ctx)
	if err != nil {
		return server{}, err
	}
	const keep = `"$1" -H 127.0.0.1 -p "$2" >/dev/null 2>&1 & server=$!; read -r _; kill $server; wait $server`
	keeper := exec.CommandContext(ctx, "/bin/sh", "-c", keep, "sh", path, port) //nolint:gosec // a test's own server
	keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	input, err := keeper.StdinPipe()
	if err != nil {
		return server{}, fmt.Errorf("start emulator: %w", err)
	}
	if err := keeper.Start(); err != nil {
		return server{}, fmt.Errorf("start emulator: %w", err)
	}
	endpoint := "http://127.0.0.1:" + port
	return server{endpoint, input}, await(ctx, endpoint)
}

func free(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}

func await(ctx context.Context, endpoint string) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/moto-api/", http.NoBody)
		if err != nil {
			return fmt.Errorf("look for emulator: %w", err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			return answer.Body.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the emulator at %s does not answer: %w", endpoint, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Credentials sets the credentials that the emulator takes from anybody, and keeps the SDK from looking
// for others. A test that calls it can't be parallel.
func Credentials(tb testing.TB) {
	tb.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		tb.Setenv(name, value)
	}
}
