package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/record"
	"github.com/riposte-sec/riposte/internal/run"
)

// SecurityHubConfig says what Security Hub is told.
type SecurityHubConfig struct {
	// Report tells Security Hub what became of the findings that came from it.
	Report bool `yaml:"report"`
	// Account and Region are where it is told: those of an administrator and of aggregation. Each finding's own if
	// empty.
	Account string `yaml:"account"`
	Region  string `yaml:"region"`
}

func (c SecurityHubConfig) check() error {
	var errs []error
	if c.Account != "" && !IsAccount(c.Account) {
		errs = append(errs, fmt.Errorf("aws.securityhub.account: %q is no account: its id has 12 digits", c.Account))
	}
	if c.Region != "" && checkRegion(c.Region) != nil {
		errs = append(errs, fmt.Errorf("aws.securityhub.region: %q is no region", c.Region))
	}
	return errors.Join(errs...)
}

// Outcome is an incident as Security Hub is told of it.
type Outcome struct {
	Incident incident.Incident
	Findings []finding.Finding
	Runs     []run.Run
	Done     []run.Step // what was done and not undone, in its order
}

// Reporter tells Security Hub what became of its findings.
type Reporter struct {
	cloud  *Cloud
	record func(ctx context.Context, records ...record.Record) error
	now    func() time.Time
}

// Reporter makes one that records what it is about to tell.
func (c *Cloud) Reporter(recorded func(ctx context.Context, records ...record.Record) error, now func() time.Time) *Reporter {
	return &Reporter{cloud: c, record: recorded, now: now}
}

const (
	// mostUpdated is how many findings one BatchUpdateFindings takes, mostFiltered how many values a filter.
	mostUpdated, mostFiltered = 100, 20
	// mostFields is how many fields of people's own a finding may have.
	mostFields = 50
	// longestField is the length of such a field's value, in characters.
	longestField = 1024
)

// Report tells of one incident, what Security Hub doesn't know yet: it looks first, so that done again it does
// nothing. It returns what to record of it. A status that people set goes further, never back, and a note of
// theirs stays. Errors are Transient if trying again may help.
func (r *Reporter) Report(ctx context.Context, o Outcome) ([]record.Record, error) {
	var all []told
	var errs []error
	for _, place := range r.places(o.Findings) {
		t, err := r.at(ctx, place.at, place.findings, o)
		if err != nil {
			t.Error = fault.Message(err)
		}
		all, errs = append(all, t), append(errs, err)
	}
	err := worst(errs)
	var records []record.Record
	for _, t := range all {
		if t.Updated > 0 || err == nil { // else it comes again, and would be recorded each time
			records = append(records, record.New(r.now(), record.ReportEnded, record.System, t).About(o.Incident.ID, "", ""))
		}
	}
	return records, err
}

// told is what Security Hub was told at a place. It is recorded.
type told struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Status  string `json:"status,omitempty"`
	Note    string `json:"note"`
	Updated int    `json:"updated"` // findings that are changed
	Known   int    `json:"known"`   // findings that were so already
	Missing int    `json:"missing"` // findings that Security Hub doesn't have
	Error   string `json:"error,omitempty"`
}

// worst is the error by which to decide: one that may pass, if there is one.
func worst(errs []error) error {
	joined := errors.Join(errs...)
	for _, err := range errs {
		if fault.Is(err, fault.Transient) {
			return fault.Wrap(fault.Transient, joined)
		}
	}
	return joined
}

// hubFinding names a finding in Security Hub.
type hubFinding struct{ id, product string }

type hubPlace struct {
	at       action.Place
	findings []hubFinding
}

// places sorts the findings that Security Hub may have by where it is told of them.
func (r *Reporter) places(all []finding.Finding) []hubPlace {
	byPlace := map[action.Place][]hubFinding{}
	for i := range all {
		named, at, ok := r.inHub(&all[i])
		if !ok {
			continue
		}
		config := r.cloud.options.SecurityHub
		at.Account, at.Region = cmp.Or(config.Account, at.Account), cmp.Or(config.Region, at.Region)
		byPlace[at] = append(byPlace[at], named)
	}
	places := make([]hubPlace, 0, len(byPlace))
	for at, findings := range byPlace {
		slices.SortFunc(findings, func(a, b hubFinding) int {
			return cmp.Or(strings.Compare(a.product, b.product), strings.Compare(a.id, b.id))
		})
		places = append(places, hubPlace{at, slices.Compact(findings)})
	}
	slices.SortFunc(places, func(a, b hubPlace) int {
		return cmp.Or(strings.Compare(a.at.Account, b.at.Account), strings.Compare(a.at.Region, b.at.Region))
	})
	return places
}

// inHub is what Security Hub calls a finding: one that it told of, or one of GuardDuty's, which it has too where
// the two are integrated. Its newer form, in OCSF, has an API of its own.
func (r *Reporter) inHub(f *finding.Finding) (hubFinding, action.Place, bool) {
	said := f.Reference
	at := action.Place{Account: cmp.Or(said["account"], f.Account), Region: cmp.Or(said["region"], f.Region)}
	if at.Account == "" || checkRegion(at.Region) != nil || said["metadata_uid"] != "" {
		return hubFinding{}, at, false
	}
	named := hubFinding{said["id"], said["product_arn"]}
	if named.product == "" && f.Product == finding.GuardDuty && guardDutyID.MatchString(said["detector_id"]) && guardDutyID.MatchString(said["finding_id"]) {
		prefix := "arn:" + r.cloud.self.Partition
		named.product = prefix + ":securityhub:" + at.Region + "::product/aws/guardduty"
		named.id = prefix + ":guardduty:" + at.Region + ":" + at.Account + ":detector/" + said["detector_id"] + "/finding/" + said["finding_id"]
	}
	return named, at, named.id != "" && named.product != "" && len(named.id) <= longestFindingID && len(named.product) <= longestFindingID
}

// at tells Security Hub of one place.
func (r *Reporter) at(ctx context.Context, at action.Place, findings []hubFinding, o Outcome) (told, error) {
	say := o.says()
	t := told{Account: at.Account, Region: at.Region, Status: string(say.status), Note: say.note}
	api, err := client(r.cloud, at, func(made aws.Config) *securityhub.Client { return securityhub.NewFromConfig(made) })
	if err != nil {
		return t, err
	}
	known, err := readHub(ctx, api, findings)
	if err != nil {
		return t, err
	}
	updates := map[string]*securityhub.BatchUpdateFindingsInput{} // by what is told, so that many are told at once
	for _, named := range findings {
		now, is := known[named]
		switch {
		case !is:
			t.Missing++
			continue
		case say.known(now):
			t.Known++
			continue
		}
		update := say.update(now)
		text, err := json.Marshal(update)
		if err != nil {
			return t, fmt.Errorf("encode update: %w", err)
		}
		if updates[string(text)] == nil {
			updates[string(text)] = update
		}
		all := &updates[string(text)].FindingIdentifiers
		*all = append(*all, types.AwsSecurityFindingIdentifier{Id: aws.String(named.id), ProductArn: aws.String(named.product)})
	}
	if len(updates) == 0 {
		return t, nil
	}
	intended := record.New(r.now(), record.ReportIntended, record.System, map[string]any{
		"account": at.Account, "region": at.Region, "status": say.status, "note": say.note, "findings": len(findings) - t.Known - t.Missing,
	}).About(o.Incident.ID, "", "")
	if err := r.record(ctx, intended); err != nil {
		return t, err
	}
	for _, text := range slices.Sorted(maps.Keys(updates)) {
		if err := t.update(ctx, api, updates[text]); err != nil {
			return t, err
		}
	}
	return t, nil
}

// update makes one update, of as many findings at once as Security Hub takes.
func (t *told) update(ctx context.Context, api *securityhub.Client, update *securityhub.BatchUpdateFindingsInput) error {
	for chunk := range slices.Chunk(update.FindingIdentifiers, mostUpdated) {
		part := *update
		part.FindingIdentifiers = chunk
		done, err := api.BatchUpdateFindings(ctx, &part)
		if err != nil {
			return fmt.Errorf("update findings in Security Hub of account %s: %w", t.Account, classify(err))
		}
		t.Updated += len(done.ProcessedFindings)
		for _, failed := range done.UnprocessedFindings {
			id := ""
			if failed.FindingIdentifier != nil {
				id = aws.ToString(failed.FindingIdentifier.Id)
			}
			err := unprocessed(id, failed)
			if !fault.Is(err, fault.NotFound) {
				return err
			}
			t.Missing++
		}
	}
	return nil
}

// readHub gives the findings that Security Hub has.
func readHub(ctx context.Context, api *securityhub.Client, findings []hubFinding) (map[hubFinding]types.AwsSecurityFinding, error) {
	known := map[hubFinding]types.AwsSecurityFinding{}
	for chunk := range slices.Chunk(findings, mostFiltered) {
		asked := &securityhub.GetFindingsInput{MaxResults: aws.Int32(100), Filters: &types.AwsSecurityFindingFilters{}}
		for _, named := range chunk {
			asked.Filters.Id = append(asked.Filters.Id, types.StringFilter{
				Comparison: types.StringFilterComparisonEquals, Value: aws.String(named.id),
			})
		}
		pages := securityhub.NewGetFindingsPaginator(api, asked)
		for pages.HasMorePages() {
			got, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("read findings in Security Hub: %w", classify(err))
			}
			for _, f := range got.Findings {
				known[hubFinding{aws.ToString(f.Id), aws.ToString(f.ProductArn)}] = f
			}
		}
	}
	return known, nil
}

// saying is what Security Hub is told of all findings of an incident.
type saying struct {
	status types.WorkflowStatus // "" leaves it
	note   string
	fields map[string]string
}

// says puts an incident's outcome into Security Hub's words.
func (o Outcome) says() saying {
	running := slices.ContainsFunc(o.Runs, func(r run.Run) bool { return !r.State.Final() })
	say := saying{fields: map[string]string{"riposte_incident": o.Incident.ID, "riposte_state": string(o.Incident.State)}}
	switch {
	case o.Incident.State == incident.Closed && (o.Incident.Verdict == incident.FalsePositive || o.Incident.Verdict == incident.Benign):
		say.status = types.WorkflowStatusSuppressed
	case o.Incident.State == incident.Closed && !running:
		say.status = types.WorkflowStatusResolved
	case o.Incident.State == incident.Closed, o.Incident.State == incident.Contained:
		say.status = types.WorkflowStatusNotified
	}
	text := fmt.Sprintf("Riposte incident %s is %s", o.Incident.ID, o.Incident.State)
	if o.Incident.Verdict != "" {
		say.fields["riposte_verdict"] = string(o.Incident.Verdict)
		text += ", " + strings.ReplaceAll(string(o.Incident.Verdict), "_", " ")
	}
	text += "."
	var did []string
	for i := range o.Done {
		step := &o.Done[i]
		one := step.Action
		if step.Change != nil && step.Change.Target.ID != "" {
			one += " on " + step.Change.Target.ID
		}
		did = append(did, one+" (run "+step.Run+")")
	}
	if len(did) > 0 {
		say.fields["riposte_done"] = printable(strings.Join(did, "; "), longestField)
		text += " Done: " + strings.Join(did, "; ") + "."
	}
	var runs []string
	for i := range o.Runs {
		runs = append(runs, o.Runs[i].Playbook+" "+string(o.Runs[i].State))
	}
	if len(runs) > 0 {
		say.fields["riposte_runs"] = printable(strings.Join(runs, "; "), longestField)
		text += " Runs: " + strings.Join(runs, "; ") + "."
	}
	say.note = printable(text, longestNote)
	return say
}

// further orders what people do with a finding.
func further(status types.WorkflowStatus) int {
	switch status {
	case types.WorkflowStatusNotified:
		return 1
	case types.WorkflowStatusResolved, types.WorkflowStatusSuppressed:
		return 2
	case types.WorkflowStatusNew:
	}
	return 0
}

// moves reports whether the status goes further than it is.
func (s saying) moves(now types.AwsSecurityFinding) bool {
	is := types.WorkflowStatusNew
	if now.Workflow != nil {
		is = now.Workflow.Status
	}
	return further(s.status) > further(is)
}

// mayNote reports whether the note is ours to write.
func mayNote(now types.AwsSecurityFinding) bool {
	return now.Note == nil || aws.ToString(now.Note.Text) == "" || aws.ToString(now.Note.UpdatedBy) == noteBy
}

// known reports whether a finding says all of it already.
func (s saying) known(now types.AwsSecurityFinding) bool {
	noted := !mayNote(now) || now.Note != nil && aws.ToString(now.Note.Text) == s.note
	return !s.moves(now) && noted && maps.Equal(s.merged(now), now.UserDefinedFields)
}

// merged are the finding's fields with ours, without those for which there is no room.
func (s saying) merged(now types.AwsSecurityFinding) map[string]string {
	merged := maps.Clone(now.UserDefinedFields)
	if merged == nil {
		merged = map[string]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(s.fields)) {
		if _, is := merged[name]; is || len(merged) < mostFields {
			merged[name] = s.fields[name]
		}
	}
	return merged
}

// update is what to tell of a finding as it is now.
func (s saying) update(now types.AwsSecurityFinding) *securityhub.BatchUpdateFindingsInput {
	update := &securityhub.BatchUpdateFindingsInput{UserDefinedFields: s.merged(now)}
	if s.moves(now) {
		update.Workflow = &types.WorkflowUpdate{Status: s.status}
	}
	if mayNote(now) {
		update.Note = &types.NoteUpdate{Text: aws.String(s.note), UpdatedBy: aws.String(noteBy)}
	}
	return update
}
