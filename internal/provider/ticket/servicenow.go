package ticket

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// serviceNow is a table of ServiceNow, by its Table API.
type serviceNow struct {
	desk
	table  string
	closed []string
	fields map[string]any
}

var (
	tableForm  = regexp.MustCompile(`^[a-z][a-z0-9_]{1,79}$`)
	numberForm = regexp.MustCompile(`^[A-Za-z]{1,20}[0-9]{1,20}$`)
	sysIDForm  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

func newServiceNow(c System, d desk) (system, error) {
	s := serviceNow{desk: d, table: cmp.Or(c.Table, "incident"), closed: c.Closed, fields: c.Fields}
	if !tableForm.MatchString(s.table) {
		return system{}, fault.New(fault.Invalid, "table: %.30q is no table's name", s.table)
	}
	if len(s.closed) == 0 {
		s.closed = []string{"6", "7", "8"}
	}
	return system{tracker: s, commenter: s, longest: 160, keys: numberForm}, nil
}

// value is one of a record, as it is stored and as people see it.
type value struct {
	Value   string `json:"value"`
	Display string `json:"display_value"`
}

// recordRow is what we read of a record.
type recordRow struct {
	ID        value `json:"sys_id"`
	Number    value `json:"number"`
	State     value `json:"state"`
	Active    value `json:"active"`
	CloseCode value `json:"close_code"`
}

func (s serviceNow) opened(r recordRow) (opened, error) {
	if !sysIDForm.MatchString(r.ID.Value) || !numberForm.MatchString(r.Number.Value) {
		return opened{}, fault.New(fault.Transient, "%s: an answer without a record's number and sys_id", s.name)
	}
	return opened{
		key: r.Number.Value, url: s.url + "/nav_to.do?uri=" + url.QueryEscape(s.table+".do?sys_id="+r.ID.Value),
		state: cmp.Or(r.State.Display, r.State.Value), resolution: cmp.Or(r.CloseCode.Display, r.CloseCode.Value),
		closed: r.Active.Value == "false" || slices.Contains(s.closed, r.State.Value),
	}, nil
}

// path is the address of the table, or of a record in it, with what is to be told of records.
func (s serviceNow) path(record, query string) string {
	told := url.Values{"sysparm_fields": {"sys_id,number,state,active,close_code"}, "sysparm_display_value": {"all"}}
	if query != "" {
		told.Set("sysparm_query", query)
		told.Set("sysparm_limit", "1")
	}
	return strings.TrimSuffix("/api/now/table/"+s.table+"/"+record, "/") + "?" + told.Encode()
}

// row gives the record that a query finds.
func (s serviceNow) row(ctx context.Context, query string) (recordRow, error) {
	var found struct {
		Result []recordRow `json:"result"`
	}
	if err := s.ask(ctx, http.MethodGet, s.path("", query), nil, &found); err != nil {
		return recordRow{}, err
	}
	if len(found.Result) == 0 {
		return recordRow{}, fault.New(fault.NotFound, "%s has no record with %s", s.name, query)
	}
	return found.Result[0], nil
}

// find looks for the marker, which is the record's correlation id.
func (s serviceNow) find(ctx context.Context, marker string) (opened, error) {
	row, err := s.row(ctx, "correlation_id="+marker)
	if err != nil {
		return opened{}, err
	}
	return s.opened(row)
}

func (s serviceNow) open(ctx context.Context, marker string, d draft) (opened, error) {
	fields := maps.Clone(s.fields)
	if fields == nil {
		fields = map[string]any{}
	}
	fields["short_description"] = d.Title
	fields["description"] = d.Text + "\n\n" + d.About
	fields["correlation_id"] = marker
	fields["correlation_display"] = "Riposte"
	var made struct {
		Result recordRow `json:"result"`
	}
	if err := s.ask(ctx, http.MethodPost, s.path("", ""), fields, &made); err != nil {
		return opened{}, err
	}
	return s.opened(made.Result)
}

func (s serviceNow) read(ctx context.Context, key string) (opened, error) {
	row, err := s.row(ctx, "number="+key)
	if err != nil {
		return opened{}, err
	}
	return s.opened(row)
}

// said looks for the marker among the record's work notes, as far as the user may read them.
func (s serviceNow) said(ctx context.Context, key, marker string) (string, error) {
	row, err := s.row(ctx, "number="+key)
	if err != nil {
		return "", invalid(err)
	}
	query := url.Values{
		"sysparm_query":  {"element_id=" + row.ID.Value + "^element=work_notes^valueLIKE" + marker},
		"sysparm_fields": {"sys_id"}, "sysparm_limit": {"1"},
	}
	var found struct {
		Result []struct{} `json:"result"`
	}
	if err := s.ask(ctx, http.MethodGet, "/api/now/table/sys_journal_field?"+query.Encode(), nil, &found); err != nil && !fault.Is(err, fault.NotFound) {
		return "", err
	}
	if len(found.Result) == 0 {
		return "", fault.New(fault.NotFound, "%s: nobody said %s on %s", s.name, marker, key)
	}
	return row.ID.Value, nil
}

func (s serviceNow) say(ctx context.Context, key, text string) (string, error) {
	row, err := s.row(ctx, "number="+key)
	if err != nil {
		return "", err
	}
	var changed struct {
		Result recordRow `json:"result"`
	}
	err = s.ask(ctx, http.MethodPatch, s.path(row.ID.Value, ""), map[string]string{"work_notes": unmarked(text)}, &changed)
	return row.ID.Value, err
}

// codeTag is what ServiceNow takes for HTML within journal fields.
var codeTag = regexp.MustCompile(`(?i)\[(/?)code\]`)

func unmarked(text string) string { return codeTag.ReplaceAllString(text, "[ ${1}code]") }
