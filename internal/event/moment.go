package event

import (
	"encoding/json"
	"strings"
	"time"
)

// moments are the keys by which logs tell when something happened, the most telling first: CloudTrail's,
// Kubernetes', EventBridge's (and OCSF's, in milliseconds), and those of other clouds' logs.
var moments = []string{"eventTime", "requestReceivedTimestamp", "time", "timestamp", "@timestamp", "published", "TimeGenerated"} //nolint:gochecknoglobals // a constant

// Moment is when a record says that it happened, and whether it says so in a way that is known.
func Moment(raw []byte) (time.Time, bool) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return time.Time{}, false
	}
	for _, key := range moments {
		if at, ok := moment(fields[key]); ok {
			return at, true
		}
	}
	return time.Time{}, false
}

func moment(written json.RawMessage) (time.Time, bool) {
	var text string
	if json.Unmarshal(written, &text) == nil {
		at, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
		return at.UTC(), err == nil
	}
	var millis int64
	if json.Unmarshal(written, &millis) == nil && millis > 0 {
		return time.UnixMilli(millis).UTC(), true
	}
	return time.Time{}, false
}
