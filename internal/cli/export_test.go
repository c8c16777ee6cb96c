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
