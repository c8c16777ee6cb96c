package respond_test

import (
	"github.com/riposte-sec/riposte/internal/run"
)

// undo takes back what was applied for the incident of a run, and gives the run that did.
func (o *office) undo(id string, what run.Undoing) string {
	o.Helper()
	undoing, err := o.runner.Undo(o.Context(), o.Store, o.journal(id).Run.Incident, what, "ann")
	if err != nil {
		o.Fatal(err)
	}
	o.work()
	return undoing.ID
}
