package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what somebody does for the organisation. Tokens have roles; roles have permissions.
type Role string

// The roles. The first five are people's, the others are machines'.
const (
	SecurityEngineer  Role = "security_engineer"  // runs Riposte and responds
	CloudArchitect    Role = "cloud_architect"    // owns what is protected
	IncidentAnalyst   Role = "incident_analyst"   // investigates and decides
	ComplianceOfficer Role = "compliance_officer" // reads and proves
	Admin             Role = "admin"              // may do everything
	EventSender       Role = "event_sender"       // hands in events
	Monitor           Role = "monitor"            // reads metrics
)

// Roles lists every role.
func Roles() []Role {
	return []Role{SecurityEngineer, CloudArchitect, IncidentAnalyst, ComplianceOfficer, Admin, EventSender, Monitor}
}

// UnmarshalText reads a role's name.
func (r *Role) UnmarshalText(text []byte) error {
	for _, known := range Roles() {
		if string(known) == string(text) {
			*r = known
			return nil
		}
	}
	names := make([]string, 0, len(Roles()))
	for _, known := range Roles() {
		names = append(names, string(known))
	}
	return fmt.Errorf("%.100q is no role; there are %s", text, strings.Join(names, ", "))
}

// Permission is one kind of thing that can be done through the API, the CLI or the console.
type Permission string

// The permissions.
const (
	IncidentsRead  Permission = "incidents.read"  // incidents with their findings, and runs with their plans
	IncidentsWrite Permission = "incidents.write" // own, annotate and close incidents
	RunsApprove    Permission = "runs.approve"    // answer a run's question, as far as it asks one's role
	RunsUndo       Permission = "runs.undo"       // undo a step, a run or an incident; retry or end a run
	RailsRead      Permission = "rails.read"      // freezes, protections and what limits leave
	RailsFreeze    Permission = "rails.freeze"    // stop changes
	RailsUnfreeze  Permission = "rails.unfreeze"  // let changes happen again
	RailsProtect   Permission = "rails.protect"   // protect entities, and end that
	LettersRead    Permission = "letters.read"    // dead letters, with what is in them
	LettersReplay  Permission = "letters.replay"  // hand dead letters in again, or drop them
	LedgerRead     Permission = "ledger.read"     // the ledger, its export and proofs
	EventsWrite    Permission = "events.write"    // hand in events
	ConfigRead     Permission = "config.read"     // the configuration without its secrets, rules and playbooks
	TokensManage   Permission = "tokens.manage"   // see who has tokens, and make some
	MetricsRead    Permission = "metrics.read"    // metrics
)

// Permissions lists every permission.
func Permissions() []Permission {
	return []Permission{
		IncidentsRead, IncidentsWrite, RunsApprove, RunsUndo, RailsRead, RailsFreeze, RailsUnfreeze, RailsProtect,
		LettersRead, LettersReplay, LedgerRead, EventsWrite, ConfigRead, TokensManage, MetricsRead,
	}
}

// allowed is who may do what. Whoever may see that something goes wrong may stop it; to let it go on again
// takes somebody who answers for it.
var allowed = map[Permission][]Role{
	IncidentsRead:  {SecurityEngineer, CloudArchitect, IncidentAnalyst, ComplianceOfficer, Admin},
	IncidentsWrite: {SecurityEngineer, IncidentAnalyst, Admin},
	RunsApprove:    {SecurityEngineer, CloudArchitect, IncidentAnalyst, Admin},
	RunsUndo:       {SecurityEngineer, IncidentAnalyst, Admin},
	RailsRead:      {SecurityEngineer, CloudArchitect, IncidentAnalyst, ComplianceOfficer, Admin},
	RailsFreeze:    {SecurityEngineer, CloudArchitect, IncidentAnalyst, Admin},
	RailsUnfreeze:  {SecurityEngineer, Admin},
	RailsProtect:   {SecurityEngineer, CloudArchitect, Admin},
	LettersRead:    {SecurityEngineer, IncidentAnalyst, Admin},
	LettersReplay:  {SecurityEngineer, Admin},
	LedgerRead:     {SecurityEngineer, IncidentAnalyst, ComplianceOfficer, Admin},
	EventsWrite:    {SecurityEngineer, Admin, EventSender},
	ConfigRead:     {SecurityEngineer, CloudArchitect, ComplianceOfficer, Admin},
	TokensManage:   {Admin},
	MetricsRead:    {SecurityEngineer, CloudArchitect, Admin, Monitor},
}

// May reports whether a role has a permission.
func (r Role) May(p Permission) bool { return slices.Contains(allowed[p], r) }

// Holders lists the roles that have a permission.
func Holders(p Permission) []Role { return slices.Clone(allowed[p]) }
