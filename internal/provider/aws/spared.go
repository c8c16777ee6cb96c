package aws

import (
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/fault"
)

// emergency is what principals are called that are kept for the day on which nothing else works.
var emergency = shaped(`(?i)break[-_. ]?glass|emergency[-_. ]?(access|admin|role|user)`)

// spare refuses to shut out those who must be able to work whatever happens: Riposte's own principals and
// those kept for emergencies. Guardrails protect what people declare; this holds where nobody declared anything.
func (c *Cloud) spare(kind entity.Kind, name, account string) error {
	own := slices.ContainsFunc(c.Stands(), func(e entity.Entity) bool {
		return e.Kind == kind && e.ID == name && (e.Account == "" || e.Account == account)
	})
	switch {
	case own:
		return fault.New(fault.Denied, "%s %s is Riposte's own: it doesn't shut itself out", kind, name)
	case emergency.MatchString(name):
		return fault.WithHint(fault.New(fault.Denied, "%s %s is kept for emergencies, by its name", kind, name),
			"a person who knows what it is needed for must do this")
	}
	return nil
}

// marked puts an incident's id behind a name, such as of a policy, as far as AWS takes its characters.
func marked(name, incident string) string {
	const longest = 100
	id := strings.Map(func(r rune) rune {
		if strings.ContainsRune("+=,.@_-", r) || alphanumeric(r) {
			return r
		}
		return -1
	}, incident)
	return name + "-" + id[:min(len(id), longest)]
}

// markedSid is the id of a statement that is put in for an incident: IAM takes letters and digits alone.
func markedSid(name, incident string) string {
	const longest = 100
	id := strings.Map(func(r rune) rune {
		if alphanumeric(r) {
			return r
		}
		return -1
	}, incident)
	return name + id[:min(len(id), longest)]
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
