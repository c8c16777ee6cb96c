package conformance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// longestLine is how long a line of the protocol may be, in bytes.
const longestLine = 1 << 24

// request is one line that goes to an engine.
type request struct {
	Do           string              `json:"do"` // load, match or correlate
	Documents    string              `json:"documents,omitempty"`
	Placeholders map[string][]string `json:"placeholders,omitempty"`
	Event        string              `json:"event,omitempty"`
	Source       *Source             `json:"source,omitempty"`
	Stream       []Arrival           `json:"stream,omitempty"`
}

// reply is the line that comes back.
type reply struct {
	Match       *bool   `json:"match,omitempty"`
	Alerts      []Alert `json:"alerts,omitempty"`
	Refused     string  `json:"refused,omitempty"`
	Unsupported string  `json:"unsupported,omitempty"`
	Error       string  `json:"error,omitempty"`
}

// Remote is an engine in another program, which reads requests and writes replies, one JSON object a line.
type Remote struct {
	to   *json.Encoder
	from *bufio.Scanner
}

// NewRemote makes an engine of what writes to and reads from a program.
func NewRemote(to io.Writer, from io.Reader) *Remote {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longestLine)
	encoder := json.NewEncoder(to)
	encoder.SetEscapeHTML(false)
	return &Remote{to: encoder, from: lines}
}

// Load hands documents over.
func (r *Remote) Load(documents string, placeholders map[string][]string) error {
	_, err := r.ask(request{Do: "load", Documents: documents, Placeholders: placeholders})
	return err
}

// Match asks about an event.
func (r *Remote) Match(event string, s Source) (bool, error) {
	got, err := r.ask(request{Do: "match", Event: event, Source: &s})
	if err == nil && got.Match == nil {
		err = errors.New("the reply has no match")
	}
	if err != nil {
		return false, err
	}
	return *got.Match, nil
}

// Correlate asks about a stream.
func (r *Remote) Correlate(stream []Arrival) ([]Alert, error) {
	got, err := r.ask(request{Do: "correlate", Stream: stream})
	return got.Alerts, err
}

// ask writes a request and reads the reply.
func (r *Remote) ask(q request) (reply, error) {
	var got reply
	if err := r.to.Encode(q); err != nil {
		return got, fmt.Errorf("write to the engine: %w", err)
	}
	if !r.from.Scan() {
		return got, fmt.Errorf("read from the engine: %w", errors.Join(r.from.Err(), io.ErrUnexpectedEOF))
	}
	if err := json.Unmarshal(r.from.Bytes(), &got); err != nil {
		return got, fmt.Errorf("read the engine's reply: %w", err)
	}
	switch {
	case got.Refused != "":
		return got, fmt.Errorf("%w: %s", ErrRefused, got.Refused)
	case got.Unsupported != "":
		return got, fmt.Errorf("%w: %s", ErrUnsupported, got.Unsupported)
	case got.Error != "":
		return got, errors.New(got.Error)
	}
	return got, nil
}

// Serve answers the requests of a [Remote] by an engine of this program, until they end.
func Serve(e Engine, from io.Reader, to io.Writer) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longestLine)
	encoder := json.NewEncoder(to)
	for lines.Scan() {
		var q request
		err := json.Unmarshal(lines.Bytes(), &q)
		var answer reply
		if err == nil {
			answer, err = q.answer(e)
		}
		switch {
		case errors.Is(err, ErrRefused):
			answer.Refused = err.Error()
		case errors.Is(err, ErrUnsupported):
			answer.Unsupported = err.Error()
		case err != nil:
			answer.Error = err.Error()
		}
		if err := encoder.Encode(answer); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
	return lines.Err()
}

func (q *request) answer(e Engine) (reply, error) {
	switch q.Do {
	case "load":
		return reply{}, e.Load(q.Documents, q.Placeholders)
	case "match":
		if q.Source == nil {
			q.Source = &Source{}
		}
		matched, err := e.Match(q.Event, *q.Source)
		return reply{Match: &matched}, err
	case "correlate":
		alerts, err := e.Correlate(q.Stream)
		return reply{Alerts: alerts}, err
	}
	return reply{}, fmt.Errorf("%w: %q", ErrUnsupported, q.Do)
}
