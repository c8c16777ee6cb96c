package event_test

import (
	"testing"
	"time"

	"github.com/riposte-sec/riposte/internal/event"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 12, 0, 5, 0, time.UTC)
	tests := []struct {
		name, record string
		want         time.Time
	}{
		{"CloudTrail", `{"eventTime":"2026-03-04T12:00:05Z","time":"2020-01-01T00:00:00Z"}`, at},
		{"EventBridge", `{"time":"2026-03-04T12:00:05Z","detail":{"eventTime":"2026-03-04T11:00:00Z"}}`, at},
		{"Kubernetes", `{"requestReceivedTimestamp":"2026-03-04T12:00:05.000000Z","stageTimestamp":"2026-03-04T12:00:06Z"}`, at},
		{"OCSF", `{"time":1772625605000}`, at},
		{"another zone", `{"timestamp":"2026-03-04T13:00:05+01:00"}`, at},
		{"one that is no time, and another", `{"eventTime":"soon","@timestamp":"2026-03-04T12:00:05Z"}`, at},
		{"none", `{"eventName":"StopLogging"}`, time.Time{}},
		{"null, a list, a negative number", `{"eventTime":null,"time":[],"timestamp":-1}`, time.Time{}},
		{"no object", `[1]`, time.Time{}},
		{"no JSON", `{`, time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, ok := event.Moment([]byte(test.record))
			if !got.Equal(test.want) || ok == test.want.IsZero() {
				t.Errorf("got %v, %v, want %v", got, ok, test.want)
			}
		})
	}
}
