package awslog

import (
	"strconv"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// OCSF's status_id of a finding, as far as they mean that it is over.
const (
	ocsfSuppressed = 3
	ocsfResolved   = 4
	ocsfArchived   = 5
	ocsfPass       = 1 // compliance.status_id
)

// securityHubV2 reads a finding of the Security Hub that writes OCSF. People change its status, not its
// modified time, so the status is part of the key.
func securityHubV2(ocsf value) (event.Event, error) {
	info := ocsf.get("finding_info")
	id := info.str("uid")
	modified := firstOf(info.str("modified_time_dt"), info.str("modified_time"), ocsf.str("time_dt"), ocsf.str("time"))
	when := ocsfTime(modified)
	switch {
	case id == "":
		return event.Event{}, fault.New(fault.Invalid, "not an OCSF finding: no finding_info.uid")
	case when.IsZero():
		return event.Event{}, fault.New(fault.Invalid, "OCSF finding %s has no time", id)
	}
	at := place{ocsf.str("cloud", "account", "uid"), ocsf.str("cloud", "region")}
	g := &gather{at: at}
	for item := range ocsf.get("resources").items() {
		ocsfResource(g, item)
	}
	for item := range ocsf.get("evidences").items() {
		ocsfEvidence(g, item)
	}
	g.name(entity.Account, entity.Context, at.account, "cloud.account.uid")
	return event.Event{
		Key:    key(event.SecurityHub, ocsf.str("metadata", "product", "uid"), id, when.Format(time.RFC3339Nano), ocsf.str("status_id")),
		Source: event.SecurityHub, Time: when, Account: at.account, Region: at.region,
		Service: "securityhub.amazonaws.com", Name: ocsfControl(ocsf), Entities: g.list, Raw: ocsf,
	}, nil
}

func ocsfControl(ocsf value) string {
	if control := ocsf.str("compliance", "control"); control != "" {
		return control
	}
	info := ocsf.get("finding_info")
	for item := range info.get("types").items() {
		if text := item.text(); text != "" {
			return text
		}
	}
	return firstOf(info.str("title"), ocsf.str("class_name"))
}

// earliestMilliseconds is 1973: a smaller number counts seconds, as some products write.
const earliestMilliseconds = 100_000_000_000

// ocsfTime reads a time that is milliseconds since 1970, or text.
func ocsfTime(text string) time.Time {
	if when := momentOf(text); !when.IsZero() {
		return when
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil || ms <= 0 {
		return time.Time{}
	}
	if ms < earliestMilliseconds {
		ms *= 1000
	}
	return time.UnixMilli(ms).UTC()
}

func ocsfResource(g *gather, resource value) {
	id := resource.str("uid")
	if a, ok := strings.CutPrefix(id, "AWS::::Account:"); ok {
		g.name(entity.Account, entity.Target, a, "resources.uid")
		return
	}
	if kind, known := configKinds[resource.str("type")]; known && !strings.HasPrefix(id, "arn:") {
		g.name(kind, entity.Target, id, "resources.uid")
		return
	}
	g.arn(entity.Target, id, "resources.uid")
}

func ocsfEvidence(g *gather, evidence value) {
	g.address(evidence.str("src_endpoint", "ip"), "evidences.src_endpoint.ip")
	g.name(entity.Domain, entity.Origin, evidence.str("query", "hostname"), "evidences.query.hostname")
	user := evidence.get("actor", "user")
	if user.str("type") == "IAMUser" {
		g.name(entity.User, entity.Actor, user.str("name"), "evidences.actor.user.name")
	}
	if user.str("type") == "AssumedRole" || user.str("type") == "Role" {
		g.name(entity.Role, entity.Actor, user.str("name"), "evidences.actor.user.name")
	}
	g.name(entity.AccessKey, entity.Actor, user.str("credential_uid"), "evidences.actor.user.credential_uid")
}

// ocsfFinding makes a finding of an OCSF finding. GuardDuty's are known by the ARN of its finding.
func ocsfFinding(ev event.Event, ocsf value) finding.Finding {
	info := ocsf.get("finding_info")
	product := ocsf.str("metadata", "product", "uid")
	f := finding.Finding{
		Fingerprint: finding.Fingerprint(string(finding.SecurityHub), product, info.str("uid")),
		Product:     finding.SecurityHub,
		Type:        "securityhub:" + ev.Name,
		Title:       firstOf(info.str("title"), ev.Name),
		Description: info.str("desc"),
		Severity:    ocsfSeverity(ocsf.integer("severity_id")),
		FirstSeen:   firstTime(info.str("first_seen_time_dt"), info.str("first_seen_time"), info.str("created_time_dt"), info.str("created_time")),
		LastSeen:    firstTime(info.str("last_seen_time_dt"), info.str("last_seen_time")),
		Count:       max(ocsf.integer("count"), 1),
		Reference: reference("product_arn", product, "id", info.str("uid"), "metadata_uid", ocsf.str("metadata", "uid"),
			"region", ev.Region, "account", ev.Account),
	}
	switch ocsf.integer("status_id") {
	case ocsfSuppressed, ocsfResolved, ocsfArchived:
		f.Resolved = true
	}
	f.Resolved = f.Resolved || ocsf.integer("compliance", "status_id") == ocsfPass
	for _, name := range []string{"uid", "src_url"} {
		if asGuardDuty(&f, info.str(name), f.Count) {
			f.Type = "guardduty:" + guardDutyType(ev.Name)
			break
		}
	}
	return f
}

func firstTime(texts ...string) time.Time {
	for _, text := range texts {
		if when := ocsfTime(text); !when.IsZero() {
			return when
		}
	}
	return time.Time{}
}

// ocsfSeverity is ours, which are OCSF's; OCSF's fatal is critical, and its other unknown.
func ocsfSeverity(id int) finding.Severity {
	switch {
	case id >= 1 && id <= 5:
		return finding.Severity(id)
	case id == 6:
		return finding.Critical
	}
	return finding.Unknown
}
