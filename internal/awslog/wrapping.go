package awslog

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// mostUnpacked is how many bytes the data of a subscription may hold.
	mostUnpacked = 32 << 20
	// longestHead is how long what stands before a list may be that is read member by member.
	longestHead = 4 << 10
)

// wrapping is an object around a list of records, which it says something of: what CloudWatch Logs hands to
// subscribers, a list of audit events or of findings. The zero wrapping is {"Records":[...]}, which says nothing.
type wrapping struct {
	head  []byte // the object up to the list
	list  bool   // it is one of audit events
	found bool   // it is one of findings
	logs  bool   // it is what CloudWatch Logs hands over, with:
	kind,
	group,
	stream string
	from cluster
}

// wrappingOf is what an object says of its list.
func wrappingOf(head value) *wrapping {
	w := &wrapping{logs: head.get("messageType") != nil, list: listed(head)}
	if !w.logs {
		return w
	}
	w.kind, w.group, w.stream = head.str("messageType"), head.str("logGroup"), head.str("logStream")
	w.from.at.account = head.str("owner")
	if name, ok := strings.CutPrefix(w.group, "/aws/eks/"); ok {
		if name, ok = strings.CutSuffix(name, "/cluster"); ok && !strings.Contains(name, "/") {
			w.from.name, w.from.from = name, "logGroup"
		}
	}
	return w
}

// listed reports whether a record is a list of audit events, as the API server sends them to a webhook.
func listed(record value) bool {
	return record.str("kind") == "EventList" && strings.HasPrefix(record.str("apiVersion"), auditAPI)
}

// enters tells whether a list may be read member by member, and what is said of it: by the name of its key and the
// object up to it.
func enters(name string, head []byte) (*wrapping, bool) {
	switch name {
	case records:
		return &wrapping{}, true
	case handedFindings:
		return &wrapping{found: true}, true
	}
	if len(head) > longestHead {
		return nil, false
	}
	whole, err := object(append(bytes.Clone(head), "]}"...))
	if err != nil {
		return nil, false
	}
	w := wrappingOf(whole)
	w.head = bytes.Clone(head)
	return w, w.logs && name == logEvents || w.list && name == auditItems
}

// all reads each member of the list in a whole object. Where some can't be read, the others come with the error.
func (w *wrapping) all(whole value) ([]event.Event, error) {
	name := auditItems
	if w.logs {
		name = logEvents
	}
	list := whole.get(name)
	if len(list) == 0 || list[0] != '[' {
		return nil, fault.New(fault.Invalid, "%s is no list", name)
	}
	var events []event.Event
	var errs []error
	for item := range list.items() {
		some, err := w.record(item)
		events = append(events, some...)
		if err != nil && len(errs) < mostLetters {
			errs = append(errs, err)
		}
	}
	return events, fault.Wrap(fault.Invalid, errors.Join(errs...))
}

// record reads one member.
func (w *wrapping) record(raw []byte) ([]event.Event, error) {
	switch {
	case w.logs:
		return w.logged(raw)
	case w.list:
		item, err := object(raw)
		if err != nil {
			return nil, err
		}
		return one(kubernetesAudit(item, w.from))
	case w.found:
		item, err := object(raw)
		if err != nil {
			return nil, err
		}
		return one(handed(item))
	}
	return Record(raw)
}

// alone is a member with the object around it, so that it can be read again by itself.
func (w *wrapping) alone(raw []byte) []byte {
	if len(w.head) == 0 {
		return raw
	}
	return bytes.Join([][]byte{w.head, raw, []byte("]}")}, nil)
}

// logged reads one log event, whose message is the record. The logs of a cluster's other parts, which are no
// audit, give nothing.
func (w *wrapping) logged(raw []byte) ([]event.Event, error) {
	switch {
	case w.kind == "CONTROL_MESSAGE": // CloudWatch's test of the subscription
		return nil, nil
	case w.kind != "DATA_MESSAGE":
		return nil, fault.New(fault.Invalid, "messageType %.40q of CloudWatch Logs is not known", w.kind)
	case w.from.name != "" && !strings.HasPrefix(w.stream, "kube-apiserver-audit-"):
		return nil, nil
	}
	item, err := object(raw)
	if err != nil {
		return nil, err
	}
	message, err := object([]byte(item.str("message")))
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("message of log event %.80s of %.200s: %w", item.str("id"), w.group, err))
	case audited(message):
		return one(kubernetesAudit(message, w.from))
	case message.get("eventVersion") != nil && message.get("eventTime") != nil:
		return one(CloudTrail(message))
	}
	return nil, fault.New(fault.Invalid, "log event %.80s of %.200s is not of a kind that is known; its keys are %s",
		item.str("id"), w.group, strings.Join(keysOf(message), ", "))
}

// packed reads what CloudWatch Logs hands to a function: gzip in base64.
func packed(record value) ([]event.Event, error) {
	zipped, err := base64.StdEncoding.DecodeString(record.str("awslogs", "data"))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("awslogs.data is not base64: %w", err))
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("awslogs.data is not compressed: %w", err))
	}
	plain, err := io.ReadAll(io.LimitReader(unzipped, mostUnpacked+1))
	switch {
	case err != nil:
		return nil, fault.Wrap(fault.Invalid, fmt.Errorf("awslogs.data is damaged: %w", err))
	case len(plain) > mostUnpacked:
		return nil, fault.New(fault.Invalid, "awslogs.data holds more than %d bytes", mostUnpacked)
	}
	whole, err := object(plain)
	if err != nil {
		return nil, fmt.Errorf("awslogs.data: %w", err)
	}
	w := wrappingOf(whole)
	if !w.logs {
		return nil, fault.New(fault.Invalid, "awslogs.data is not what CloudWatch Logs hands to subscribers")
	}
	return w.all(whole)
}
