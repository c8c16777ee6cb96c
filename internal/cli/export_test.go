package cli

import (
	"io"
	"time"

	"github.com/riposte-sec/riposte/internal/replay"
)

// Bar lets a test draw a progress bar as on a terminal.
func Bar(out io.Writer, now func() time.Time) (tell func(replay.Progress), done func(events int)) {
	b := &bar{out: out, terminal: true, now: now, began: now()}
	return b.tell, b.done
}

// Understands gives what is wrong with a command line, without running it.
func Understands(args []string) error {
	command, rest, err := (&root{}).command().Find(args)
	if err != nil {
		return err
	}
	if err := command.ParseFlags(rest); err != nil {
		return err
	}
	return command.ValidateArgs(command.Flags().Args())
}
