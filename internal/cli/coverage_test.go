package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/cli"
)

// serve runs a server on a data folder until the returned function ends it.
func serve(t *testing.T, data string) (address string, end func()) {
	t.Helper()
	settings := app.Defaults()
	settings.Data, settings.Listen = data, "127.0.0.1:0"
	server, err := app.New(t.Context(), settings, app.Options{Logger: slog.New(slog.DiscardHandler), Version: "test", Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	return server.Address(), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// ask runs a command and gives what it writes to standard output.
func ask(t *testing.T, in string, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	if code := cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &out, Err: &said}, "test"); code != 0 {
		t.Fatalf("riposte %s: exit %d: %s", strings.Join(args, " "), code, &said)
	}
	return out.String()
}

// TestCoverageAsksTheServer checks that the server knows which log sources were heard of, also when it was
// started again.
func TestCoverageAsksTheServer(t *testing.T) {
	data := t.TempDir()
	asServer := func(address string, args ...string) []string {
		return append(args, "--url", address, "--token-file", filepath.Join(data, app.TokenFile), "--json")
	}
	sources := func(address string) map[string]string {
		var report struct {
			Sources []struct {
				Name      string
				LogSource string `json:"log_source"`
			}
		}
		if err := json.Unmarshal([]byte(ask(t, "", asServer(address, "coverage")...)), &report); err != nil {
			t.Fatal(err)
		}
		heard := map[string]string{}
		for _, s := range report.Sources {
			heard[s.Name] = s.LogSource
		}
		return heard
	}
	address, end := serve(t, data)
	if got := sources(address)["aws/cloudtrail"]; got != "silent" {
		t.Errorf("of a new server, CloudTrail is %q, want silent", got)
	}
	record := `{"eventVersion":"1.11","eventTime":"` + time.Now().UTC().Format(time.RFC3339) + `","eventID":"1","eventSource":"s3.amazonaws.com",` +
		`"eventName":"ListBuckets","awsRegion":"eu-west-1","recipientAccountId":"111122223333","userIdentity":{"type":"Root"}}`
	old := strings.NewReplacer(`"eventID":"1"`, `"eventID":"2"`, time.Now().UTC().Format("2006-"), "2020-").Replace(record)
	ask(t, record+"\n"+old, asServer(address, "replay", "--send", "-")...)
	for n := range 2 {
		if got := sources(address); got["aws/cloudtrail"] != "heard" || got["aws/guardduty"] != "silent" && got["aws/guardduty"] != "" {
			t.Errorf("after %d restarts: got %v, want CloudTrail heard and nothing else", n, got)
		}
		end()
		address, end = serve(t, data)
	}
	end()
}
