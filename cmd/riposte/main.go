// Command riposte detects security events in clouds and responds to them, safely.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/riposte-sec/riposte/internal/cli"
)

// version is set by the build.
var version = "unknown" //nolint:gochecknoglobals // the linker sets it

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, version)
	stop()
	os.Exit(code)
}
