package ticket_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// item is a ticket as any of the systems keeps it.
type item struct {
	number   int
	fields   map[string]any // as they were sent
	closed   bool
	deleted  bool
	comments []string // as they were sent
}

// desk is a system of tickets. What speaks its protocol is given to it.
type desk struct {
	*httptest.Server

	mu    sync.Mutex
	items []*item
	wrong int // status to answer instead
	log   []string
	stray []string // requests that no documented operation takes
}

// speak answers one request in a system's protocol: a status and what is its JSON. 0 is no operation of it.
type speak func(d *desk, r *http.Request, body map[string]any) (status int, answer any)

func start(t *testing.T, authorization string, say speak) *desk {
	t.Helper()
	d := &desk{}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		text, _ := io.ReadAll(r.Body)
		d.log = append(d.log, r.Method+" "+r.URL.String()+" "+string(text))
		if d.wrong != 0 || r.Header.Get("Authorization") != authorization {
			w.WriteHeader(cmp.Or(d.wrong, http.StatusUnauthorized))
			fmt.Fprintf(w, "you sent %s", r.Header.Get("Authorization"))
			return
		}
		var body map[string]any
		if len(text) > 0 && json.Unmarshal(text, &body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		status, answer := say(d, r, body)
		if status == 0 {
			d.stray = append(d.stray, r.Method+" "+r.URL.String())
			status = http.StatusMethodNotAllowed
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(func() {
		d.Close()
		if len(d.stray) > 0 {
			t.Errorf("asked what the system has no operation for: %v", d.stray)
		}
	})
	return d
}

// add keeps a new ticket.
func (d *desk) add(fields map[string]any) *item {
	made := &item{number: len(d.items) + 1, fields: fields}
	d.items = append(d.items, made)
	return made
}

func (d *desk) numbered(text string) *item {
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 || number > len(d.items) || d.items[number-1].deleted {
		return nil
	}
	return d.items[number-1]
}

// dumped is a value as the JSON that it came as.
func dumped(v any) string {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err.Error()
	}
	return text.String()
}

var issuePath = regexp.MustCompile(`^/rest/api/3/issue/SEC-(\d+)(/comment)?$`)

// speakJira is Jira Cloud's REST API, version 3, as far as tickets need it.
func speakJira(d *desk, r *http.Request, body map[string]any) (int, any) {
	told := func(i *item) map[string]any {
		status, resolution := map[string]any{"name": "To Do", "statusCategory": map[string]any{"key": "new"}}, any(nil)
		if i.closed {
			status = map[string]any{"name": "Closed", "statusCategory": map[string]any{"key": "done"}}
			resolution = map[string]any{"name": "Won't Do"}
		}
		return map[string]any{
			"id": strconv.Itoa(10000 + i.number), "key": fmt.Sprintf("SEC-%d", i.number),
			"fields": map[string]any{"status": status, "resolution": resolution},
		}
	}
	at := issuePath.FindStringSubmatch(r.URL.Path)
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/rest/api/3/search/jql":
		jql, _ := body["jql"].(string)
		found := []any{}
		for _, i := range d.items {
			labels, _ := i.fields["labels"].([]any)
			if !i.deleted && slices.ContainsFunc(labels, func(l any) bool { return strings.Contains(jql, fmt.Sprintf(`project = "SEC" AND labels = %q`, l)) }) {
				found = append(found, told(i))
			}
		}
		return http.StatusOK, map[string]any{"issues": found, "isLast": true}
	case r.Method == http.MethodPost && r.URL.Path == "/rest/api/3/issue":
		fields, _ := body["fields"].(map[string]any)
		if dumped(fields["project"]) != "{\"key\":\"SEC\"}\n" || fields["issuetype"] == nil || !isDocument(fields["description"]) {
			return http.StatusBadRequest, map[string]any{"errors": map[string]any{"project": "valid project is required"}}
		}
		made := told(d.add(fields))
		delete(made, "fields")
		return http.StatusCreated, made
	case at == nil:
		return 0, nil
	}
	i := d.numbered(at[1])
	switch {
	case i == nil:
		return http.StatusNotFound, map[string]any{"errorMessages": []string{"Issue does not exist or you do not have permission to see it."}}
	case r.Method == http.MethodGet && at[2] == "":
		return http.StatusOK, told(i)
	case r.Method == http.MethodGet:
		comments := []any{}
		for id, text := range slices.Backward(i.comments) {
			comments = append(comments, map[string]any{"id": strconv.Itoa(id), "body": json.RawMessage(text)})
		}
		return http.StatusOK, map[string]any{"comments": comments, "total": len(comments)}
	case r.Method == http.MethodPost && isDocument(body["body"]):
		i.comments = append(i.comments, dumped(body["body"]))
		return http.StatusCreated, map[string]any{"id": strconv.Itoa(len(i.comments) - 1)}
	}
	return 0, nil
}

// isDocument tells whether a value is a document of Atlassian's format: text nodes in it aren't empty.
func isDocument(v any) bool {
	document, _ := v.(map[string]any)
	return document["type"] == "doc" && document["version"] == 1.0 && !strings.Contains(dumped(v), `"text":""`)
}

var rowPath = regexp.MustCompile(`^/api/now/table/incident(?:/([0-9a-f]{32}))?$`)

// speakServiceNow is ServiceNow's Table API, as far as tickets need it.
func speakServiceNow(d *desk, r *http.Request, body map[string]any) (int, any) {
	told := func(i *item) map[string]any {
		cell := func(value, display string) map[string]any {
			return map[string]any{"value": value, "display_value": display}
		}
		row := map[string]any{
			"sys_id": cell(fmt.Sprintf("%032x", i.number), fmt.Sprintf("%032x", i.number)), "number": cell(fmt.Sprintf("INC%07d", i.number), fmt.Sprintf("INC%07d", i.number)),
			"state": cell("1", "New"), "active": cell("true", "true"), "close_code": cell("", ""),
		}
		if i.closed {
			row["state"], row["close_code"] = cell("6", "Resolved"), cell("Solved", "Solved (Permanently)")
		}
		return row
	}
	query := r.URL.Query().Get("sysparm_query")
	if r.Method == http.MethodGet && r.URL.Path == "/api/now/table/sys_journal_field" {
		found := []any{}
		for _, i := range d.items {
			for _, text := range i.comments {
				if like := "element_id=" + fmt.Sprintf("%032x", i.number) + "^element=work_notes^valueLIKE"; strings.HasPrefix(query, like) && strings.Contains(text, query[len(like):]) {
					found = append(found, map[string]any{"sys_id": "x"})
				}
			}
		}
		return http.StatusOK, map[string]any{"result": found}
	}
	at := rowPath.FindStringSubmatch(r.URL.Path)
	switch {
	case at == nil:
		return 0, nil
	case r.Method == http.MethodGet && at[1] == "":
		found := []any{}
		for _, i := range d.items {
			if !i.deleted && (query == "number="+fmt.Sprintf("INC%07d", i.number) || query == "correlation_id="+fmt.Sprint(i.fields["correlation_id"])) {
				found = append(found, told(i))
			}
		}
		return http.StatusOK, map[string]any{"result": found}
	case r.Method == http.MethodPost && at[1] == "":
		return http.StatusCreated, map[string]any{"result": told(d.add(body))}
	case r.Method == http.MethodPatch && at[1] != "":
		number, err := strconv.ParseInt(at[1], 16, 32)
		i := d.numbered(strconv.FormatInt(number, 10))
		if err != nil || i == nil {
			return http.StatusNotFound, map[string]any{"error": map[string]any{"message": "No Record found"}}
		}
		i.comments = append(i.comments, fmt.Sprint(body["work_notes"]))
		return http.StatusOK, map[string]any{"result": told(i)}
	}
	return 0, nil
}

var repositoryPath = regexp.MustCompile(`^/repos/acme/security/issues(?:/(\d+)(/comments)?)?$`)

// speakGitHub is GitHub's REST API, as far as tickets need it.
func speakGitHub(d *desk, r *http.Request, body map[string]any) (int, any) {
	told := func(i *item) map[string]any {
		labels := []any{}
		for _, name := range i.fields["labels"].([]any) { //nolint:forcetypeassert // a test
			labels = append(labels, map[string]any{"name": name, "color": "ededed"})
		}
		about := map[string]any{
			"number": i.number, "html_url": fmt.Sprintf("https://github.com/acme/security/issues/%d", i.number), "state": "open", "state_reason": nil,
			"body": i.fields["body"], "labels": labels, "comments": len(i.comments),
		}
		if i.closed {
			about["state"], about["state_reason"] = "closed", "not_planned"
		}
		return about
	}
	page := func(all []any) []any {
		per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
		number, _ := strconv.Atoi(r.URL.Query().Get("page"))
		from := min(len(all), per*(number-1))
		return all[from:min(len(all), from+per)]
	}
	at := repositoryPath.FindStringSubmatch(r.URL.Path)
	switch {
	case at == nil || r.Header.Get("X-Github-Api-Version") != "2022-11-28" || r.Header.Get("User-Agent") == "":
		return 0, nil
	case r.Method == http.MethodPost && at[1] == "":
		return http.StatusCreated, told(d.add(body))
	case r.Method == http.MethodGet && at[1] == "":
		found := []any{}
		for _, i := range slices.Backward(d.items) {
			if !i.deleted && r.URL.Query().Get("state") == "all" && strings.Contains(dumped(i.fields["labels"]), `"`+r.URL.Query().Get("labels")+`"`) {
				found = append(found, told(i))
			}
		}
		return http.StatusOK, page(found)
	}
	i := d.numbered(at[1])
	switch {
	case i == nil:
		return http.StatusGone, map[string]any{"message": "This issue was deleted"}
	case r.Method == http.MethodGet && at[2] == "":
		return http.StatusOK, told(i)
	case r.Method == http.MethodGet:
		comments := []any{}
		for id, text := range i.comments {
			comments = append(comments, map[string]any{"id": id + 1, "body": text})
		}
		return http.StatusOK, page(comments)
	case r.Method == http.MethodPost && at[2] != "":
		i.comments = append(i.comments, fmt.Sprint(body["body"]))
		return http.StatusCreated, map[string]any{"id": len(i.comments)}
	}
	return 0, nil
}
