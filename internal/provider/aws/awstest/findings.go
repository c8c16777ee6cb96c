package awstest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Findings stands in front of the emulator and speaks what it lacks: of Security Hub, BatchImportFindings,
// GetFindings by id and product, and BatchUpdateFindings; of GuardDuty, findings that can be read, archived
// and taken out of the archive. Everything else goes on to the emulator.
type Findings struct {
	// URL is the endpoint.
	URL string
	// Detector is the id of the one detector that there is.
	Detector string

	mu       sync.Mutex
	hub      []map[string]any
	guard    []map[string]any
	imported int
	updates  []int
}

// Imported counts the findings that were imported, those that were there already among them.
func (f *Findings) Imported() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.imported
}

// Updates tells of how many findings each BatchUpdateFindings was.
func (f *Findings) Updates() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.updates)
}

// NewFindings starts a server for a test.
func NewFindings(tb testing.TB) *Findings {
	tb.Helper()
	emulator, err := url.Parse(Emulator(tb))
	if err != nil {
		tb.Fatal(err)
	}
	f := &Findings{Detector: "12abc34d567e8fa901bc2d34e56789f0"}
	server := httptest.NewServer(f.handler(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(emulator)
			r.Out.Host = r.In.Host // it is signed
		},
	}))
	tb.Cleanup(server.Close)
	f.URL = server.URL
	return f
}

// Sample makes a finding of GuardDuty's, not archived, as CreateSampleFindings would.
func (f *Findings) Sample(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.guard = append(f.guard, map[string]any{
		"id": id, "accountId": Home, "region": Region, "partition": "aws", "schemaVersion": "2.0", "severity": 8.0,
		"type":      "UnauthorizedAccess:IAMUser/MaliciousIPCaller",
		"arn":       fmt.Sprintf("arn:aws:guardduty:%s:%s:detector/%s/finding/%s", Region, Home, f.Detector, id),
		"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z",
		"resource": map[string]any{"resourceType": "AccessKey"}, "service": map[string]any{"archived": false, "count": 1},
	})
}

// handler speaks the APIs; what it doesn't know goes on.
func (f *Findings) handler(onward http.Handler) http.Handler {
	apis := http.NewServeMux()
	apis.HandleFunc("POST /findings/import", f.answer(f.importFindings))
	apis.HandleFunc("POST /findings", f.answer(f.getHub))
	apis.HandleFunc("PATCH /findings/batchupdate", f.answer(f.updateFindings))
	apis.HandleFunc("GET /detector", f.answer(func(request) (any, error) {
		return map[string]any{"detectorIds": []string{f.Detector}}, nil
	}))
	apis.HandleFunc("POST /detector/{detector}/findings/get", f.answer(f.getGuard))
	apis.HandleFunc("POST /detector/{detector}/findings/archive", f.answer(f.archiver(true)))
	apis.HandleFunc("POST /detector/{detector}/findings/unarchive", f.answer(f.archiver(false)))
	apis.Handle("/", onward)
	return apis
}

// request is the body of the requests that are understood.
type request struct {
	detector   string
	Findings   []map[string]any
	FindingIDs []string `json:"findingIds"`
	Filters    struct {
		ID         []filter `json:"Id"`
		ProductArn []filter
	}
	FindingIdentifiers []identifier
	Workflow           map[string]any
	Note               map[string]any
	UserDefinedFields  map[string]string
}

type filter struct {
	Comparison, Value string
}

type identifier struct {
	ID         string `json:"Id"`
	ProductArn string
}

// bad is a refusal, with the code that AWS's clients go by.
type bad struct{ code, message string }

func (b bad) Error() string { return b.message }

// answer decodes a request, has it answered under the lock, and writes the answer as AWS's REST-JSON does.
func (f *Findings) answer(work func(request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var asked request
		if r.Method != http.MethodGet {
			if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
				refuse(w, bad{"InvalidInputException", err.Error()})
				return
			}
		}
		asked.detector = r.PathValue("detector")
		f.mu.Lock()
		defer f.mu.Unlock()
		given, err := work(asked)
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(given); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

func refuse(w http.ResponseWriter, err error) {
	code := "InternalException"
	if b, ok := err.(bad); ok { //nolint:errorlint // nobody wraps it
		code = b.code
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", code)
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"Message": err.Error(), "__type": code}) //nolint:errchkjson // two strings
}

// longest are Security Hub's bounds of what a finding says, in characters.
var longest = map[string]int{"Id": 512, "GeneratorId": 512, "Title": 256, "Description": 1024} //nolint:gochecknoglobals // a constant list

// unfit says why Security Hub wouldn't take a finding, "" if it would.
func unfit(given map[string]any) string {
	for _, name := range []string{"Id", "ProductArn", "GeneratorId", "AwsAccountId", "SchemaVersion", "CreatedAt", "UpdatedAt", "Title", "Description"} {
		text, _ := given[name].(string)
		if most := longest[name]; text == "" || most > 0 && utf8.RuneCountInString(text) > most {
			return name + " is missing or too long"
		}
	}
	if resources, _ := given["Resources"].([]any); len(resources) == 0 || len(resources) > 32 {
		return "Resources are missing or too many"
	}
	return ""
}

func (f *Findings) importFindings(r request) (any, error) {
	for _, given := range r.Findings {
		if why := unfit(given); why != "" {
			id, _ := given["Id"].(string)
			failed := []any{map[string]any{"Id": id, "ErrorCode": "InvalidInput", "ErrorMessage": why}}
			return map[string]any{"FailedCount": 1, "SuccessCount": 0, "FailedFindings": failed}, nil
		}
		f.imported++
		at := slices.IndexFunc(f.hub, func(known map[string]any) bool {
			return known["Id"] == given["Id"] && known["ProductArn"] == given["ProductArn"]
		})
		if at < 0 {
			given["Workflow"] = map[string]any{"Status": "NEW"}
			f.hub = append(f.hub, given)
			continue
		}
		for key, value := range given {
			if key != "Workflow" && key != "Note" { // people's, not the product's
				f.hub[at][key] = value
			}
		}
	}
	return map[string]any{"FailedCount": 0, "SuccessCount": len(r.Findings), "FailedFindings": []any{}}, nil
}

func (f *Findings) getHub(r request) (any, error) {
	found := []map[string]any{}
	for _, known := range f.hub {
		if passes(r.Filters.ID, known["Id"]) && passes(r.Filters.ProductArn, known["ProductArn"]) {
			found = append(found, known)
		}
	}
	return map[string]any{"Findings": found}, nil
}

// passes tells whether a value equals one of a filter's.
func passes(filters []filter, value any) bool {
	return len(filters) == 0 || slices.ContainsFunc(filters, func(f filter) bool { return f.Comparison == "EQUALS" && f.Value == value })
}

func (f *Findings) updateFindings(r request) (any, error) {
	if len(r.FindingIdentifiers) == 0 || len(r.FindingIdentifiers) > 100 {
		return nil, bad{"InvalidInputException", "Invalid parameter 'FindingIdentifiers': 1 to 100 of them"}
	}
	if text, _ := r.Note["Text"].(string); utf8.RuneCountInString(text) > 512 {
		return nil, bad{"InvalidInputException", "Invalid parameter 'Note.Text': too long"}
	}
	f.updates = append(f.updates, len(r.FindingIdentifiers))
	processed, unprocessed := []identifier{}, []any{}
	for _, id := range r.FindingIdentifiers {
		at := slices.IndexFunc(f.hub, func(known map[string]any) bool {
			return known["Id"] == id.ID && known["ProductArn"] == id.ProductArn
		})
		if at < 0 {
			unprocessed = append(unprocessed, map[string]any{
				"FindingIdentifier": id, "ErrorCode": "FindingNotFound", "ErrorMessage": "The finding is not there",
			})
			continue
		}
		if r.Workflow != nil {
			f.hub[at]["Workflow"] = r.Workflow
		}
		if text, _ := r.Note["Text"].(string); r.Note != nil && strings.TrimSpace(text) == "" {
			return nil, bad{"InvalidInputException", "Invalid parameter 'Note.Text': must not be blank"}
		}
		if r.Note != nil {
			f.hub[at]["Note"] = map[string]any{
				"Text": r.Note["Text"], "UpdatedBy": r.Note["UpdatedBy"], "UpdatedAt": "2026-01-01T00:00:00.000Z",
			}
		}
		if r.UserDefinedFields != nil {
			f.hub[at]["UserDefinedFields"] = r.UserDefinedFields
		}
		processed = append(processed, id)
	}
	return map[string]any{"ProcessedFindings": processed, "UnprocessedFindings": unprocessed}, nil
}

func (f *Findings) owned(r request) error {
	if r.detector != f.Detector {
		return bad{"BadRequestException", "The request is rejected because the input detectorId is not owned by the current account."}
	}
	return nil
}

func (f *Findings) getGuard(r request) (any, error) {
	found := []map[string]any{}
	for _, known := range f.guard {
		if id, _ := known["id"].(string); slices.Contains(r.FindingIDs, id) {
			found = append(found, known)
		}
	}
	return map[string]any{"findings": found}, f.owned(r)
}

func (f *Findings) archiver(archived bool) func(request) (any, error) {
	return func(r request) (any, error) {
		for _, known := range f.guard {
			if id, _ := known["id"].(string); slices.Contains(r.FindingIDs, id) {
				known["service"] = map[string]any{"archived": archived, "count": 1}
			}
		}
		return struct{}{}, f.owned(r)
	}
}

// Hub gives all findings of Security Hub, as GetFindings does.
func (f *Findings) Hub(tb testing.TB) []byte {
	tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := json.Marshal(map[string]any{"Findings": f.hub})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// Import puts a finding into Security Hub, as a product does.
func (f *Findings) Import(tb testing.TB, text string) {
	tb.Helper()
	var given map[string]any
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		tb.Fatal(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.importFindings(request{Findings: []map[string]any{given}}); err != nil {
		tb.Fatal(err)
	}
}
