package cli_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/riposte-sec/riposte/internal/cli"
	"github.com/riposte-sec/riposte/internal/replay"
)

func TestBar(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	tell, done := cli.Bar(&out, func() time.Time { return now })
	at := func(after time.Duration, p replay.Progress) {
		now = now.Add(after)
		tell(p)
	}
	at(time.Second, replay.Progress{File: "a.json", Files: 1, AllFiles: 2, AllBytes: 200})
	at(50*time.Millisecond, replay.Progress{File: "too soon", Files: 1, AllFiles: 2, Bytes: 50, AllBytes: 200, Events: 10})
	at(950*time.Millisecond, replay.Progress{
		File: strings.Repeat("long/", 20) + "\x1b[31m.json", Files: 2, AllFiles: 2, Bytes: 100, AllBytes: 200, Events: 3000,
	})
	at(time.Second, replay.Progress{File: "stdin", Files: 1, AllFiles: 1, Bytes: 100, Events: 4000})
	now = now.Add(time.Second)
	done(1234567)
	want := []string{
		"", "[........................]   0%  file 1 of 2  0 events  0/s  a.json",
		"[############............]  50%  file 2 of 2  3,000 events  1,500/s  …/long/long/long/long/long/\\x1b[31m.json",
		"file 1 of 1  4,000 events  1,333/s  stdin", "1,234,567 events in 4.0 s, 308,641 events/s\n",
	}
	if diff := cmp.Diff(want, strings.Split(out.String(), "\r\x1b[K")); diff != "" {
		t.Errorf("drawn (-want +got):\n%s", diff)
	}
}
