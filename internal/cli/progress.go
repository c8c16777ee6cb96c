package cli

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/config"
	"github.com/riposte-sec/riposte/internal/replay"
)

const (
	// redrawn is how often the bar is drawn anew, at most.
	redrawn = 100 * time.Millisecond
	// barWidth and fileWidth are in characters.
	barWidth, fileWidth = 24, 40
)

// bar shows how far reading has come: a bar on a terminal, a line for each file elsewhere.
type bar struct {
	out      io.Writer
	terminal bool
	now      func() time.Time
	began    time.Time
	drawn    time.Time
}

// newBar makes a bar for standard error, nil where nobody is to see one.
func (r *root) newBar(quiet bool) *bar {
	if quiet || r.json {
		return nil
	}
	return &bar{out: r.Err, terminal: isTerminal(r.Err), now: time.Now, began: time.Now()}
}

// isTerminal reports whether what is written is drawn at once, by something that can move its cursor.
func isTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || config.Env("TERM", "dumb") == "dumb" {
		return false
	}
	about, err := file.Stat()
	return err == nil && about.Mode()&os.ModeCharDevice != 0
}

// tell shows how far reading has come. A nil bar shows nothing.
func (b *bar) tell(p replay.Progress) {
	switch {
	case b == nil:
	case !b.terminal:
		if p.BeginOfFile {
			fmt.Fprintln(b.out, "reading", flat(p.File))
		}
	case b.now().Sub(b.drawn) >= redrawn:
		b.drawn = b.now()
		fmt.Fprintf(b.out, "\r\x1b[K%s", b.draw(p))
	}
}

// draw is the bar as one line.
func (b *bar) draw(p replay.Progress) string {
	line := ""
	if p.AllBytes > 0 {
		share := min(float64(p.Bytes)/float64(p.AllBytes), 1)
		full := int(share * barWidth)
		line = fmt.Sprintf("[%s%s] %3.0f%%  ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*share)
	}
	file := []rune(flat(p.File))
	if len(file) > fileWidth {
		file = append([]rune("…"), file[len(file)-fileWidth+1:]...)
	}
	return fmt.Sprintf("%sfile %d of %d  %s events  %s/s  %s", line, p.Files, p.AllFiles, number(p.Events), number(b.rate(p.Events)), string(file))
}

func (b *bar) rate(events int) int {
	return int(float64(events) / max(b.now().Sub(b.began).Seconds(), 0.001))
}

// done takes the bar away and says how fast it went.
func (b *bar) done(events int) {
	if b == nil {
		return
	}
	if b.terminal {
		fmt.Fprint(b.out, "\r\x1b[K")
	}
	fmt.Fprintf(b.out, "%s events in %.1f s, %s events/s\n", number(events), b.now().Sub(b.began).Seconds(), number(b.rate(events)))
}

// number is a number with its thousands apart.
func number(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}
