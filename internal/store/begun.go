package store

import (
	"github.com/riposte-sec/riposte/internal/incident"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/internal/store/query"
)

// begun is what a job knows of the runs that it saved as claimed by a node: all that Store.Claim would read.
type begun struct {
	node      string
	runs      []begunRun
	findings  map[string]string // bodies, by id
	incidents map[string]query.IncidentRow
	merged    map[string]bool // incidents that became part of others in this job
}

type begunRun struct {
	run  run.Run
	text []byte // of its playbook
}

// Begin has the runs that this job saves from now on be claimed by a node for their first leg, so that it can
// execute them as soon as the transaction is committed, without another. Begun gives their journals.
func (tx *Tx) Begin(node string) {
	tx.begun = begun{
		node: text(node), findings: map[string]string{}, incidents: map[string]query.IncidentRow{}, merged: map[string]bool{},
	}
}

// Begun gives the journals of the runs that this job saved as claimed, as Store.Claim would. Left out is a run
// that has more to it than this job saw: its incident became part of another. It can be claimed again.
func (tx *Tx) Begun() ([]run.Journal, error) {
	journals := make([]run.Journal, 0, len(tx.begun.runs))
	for _, begun := range tx.begun.runs {
		found, known := tx.begun.findings[begun.run.Finding]
		in, also := tx.begun.incidents[begun.run.Incident]
		if !known || !also || tx.begun.merged[begun.run.Incident] {
			continue
		}
		j := run.Journal{Playbook: begun.text}
		var err error
		if j.Run, err = read(begun.run); err != nil {
			return nil, err
		}
		if err := decode(found, &j.Finding); err != nil {
			return nil, err
		}
		if j.Incident, err = incidentOf(in); err != nil {
			return nil, err
		}
		journals = append(journals, j)
	}
	return journals, nil
}

func (b *begun) sawFinding(id, body string) {
	if b.node != "" {
		b.findings[id] = body
	}
}

func (b *begun) sawIncident(i *incident.Incident, body, entities string) {
	if b.node != "" {
		b.incidents[i.ID] = query.IncidentRow{
			State: string(i.State), MergedInto: i.MergedInto, Updated: micros(i.Updated), Body: body, Entities: entities,
		}
	}
}

func (b *begun) sawMerged(incidentID string) {
	if b.node != "" {
		b.merged[incidentID] = true
	}
}

// sawRun notes a run that was saved as claimed, where the decision has the playbook's text that it keeps.
func (b *begun) sawRun(r run.Run, versions []run.Version) {
	for _, v := range versions {
		if v.Name == r.Playbook && v.Hash == r.Hash {
			b.runs = append(b.runs, begunRun{run: r, text: blob(v.Text)})
			return
		}
	}
}

// read gives a run as it would be read back.
func read(r run.Run) (run.Run, error) {
	body, err := encode(r)
	if err != nil {
		return run.Run{}, err
	}
	return runOf(query.RunRow{Incident: r.Incident, Leg: r.Leg, Fence: r.Fence, Updated: micros(r.Updated), Body: body})
}
