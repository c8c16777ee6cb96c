package awslog

import (
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/event"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/finding"
)

// guardDuty reads a GuardDuty finding. The same finding comes again with a higher count, so the count is
// part of the key.
func guardDuty(detail value) (event.Event, error) {
	id, kind := detail.str("id"), detail.str("type")
	service := detail.get("service")
	when := momentOf(service.str("eventLastSeen"), detail.str("updatedAt"), detail.str("createdAt"))
	switch {
	case id == "" || kind == "":
		return event.Event{}, fault.New(fault.Invalid, "not a GuardDuty finding: no id or no type")
	case when.IsZero():
		return event.Event{}, fault.New(fault.Invalid, "GuardDuty finding %s has no time", id)
	}
	at := place{detail.str("accountId"), detail.str("region")}
	g := &gather{at: at}
	guardDutyResource(g, detail.get("resource"))
	guardDutyAction(g, service)
	for item := range service.get("detection", "sequence").items() {
		guardDutySequence(g, item)
	}
	g.name(entity.Detector, entity.Context, service.str("detectorId"), "service.detectorId")
	g.name(entity.Account, entity.Context, at.account, "accountId")
	return event.Event{
		Key:    key(event.GuardDuty, id, strconv.Itoa(service.integer("count"))),
		Source: event.GuardDuty, Time: when, Account: at.account, Region: at.region,
		Service: "guardduty.amazonaws.com", Name: kind, Entities: g.list, Raw: detail,
	}, nil
}

// guardDutyPaths are the entities of a finding's resource, by path; those named by ARN are in
// guardDutyARNs. The resource's own addresses are left out: what a playbook blocks is the other end.
var guardDutyPaths = compile(strings.Join([]string{
	"instance instanceDetails.instanceId",
	"network_interface instanceDetails.networkInterfaces.networkInterfaceId",
	"~security_group instanceDetails.networkInterfaces.securityGroups.groupId",
	"~subnet instanceDetails.networkInterfaces.subnetId", "~vpc instanceDetails.networkInterfaces.vpcId",
	"~instance_profile instanceDetails.iamInstanceProfile.arn", "~image instanceDetails.imageId",
	"bucket s3BucketDetails.name", "object s3BucketDetails.s3ObjectDetails.objectArn",
	"cluster eksClusterDetails.arn eksClusterDetails.name", "cluster ecsClusterDetails.arn ecsClusterDetails.name",
	"resource ecsClusterDetails.taskDetails.arn",
	"container containerDetails.id ecsClusterDetails.taskDetails.containers.id kubernetesDetails.kubernetesWorkloadDetails.containers.id",
	"~image containerDetails.image ecsClusterDetails.taskDetails.containers.image kubernetesDetails.kubernetesWorkloadDetails.containers.image",
	"function lambdaDetails.functionArn lambdaDetails.functionName", "~role lambdaDetails.role",
	"database rdsDbInstanceDetails.dbInstanceIdentifier rdsDbInstanceDetails.dbClusterIdentifier",
	"volume ebsVolumeDetails.scannedVolumeDetails.volumeArn ebsVolumeDetails.skippedVolumeDetails.volumeArn",
	"snapshot ebsSnapshotDetails.snapshotArn", "image ec2ImageDetails.imageArn",
}, ", "))

func guardDutyResource(g *gather, resource value) {
	for _, t := range guardDutyPaths {
		resource.each(t.path, func(v value) { g.name(t.kind, t.part, v.text(), "resource."+t.from) })
	}
	for item := range resource.get("accessKeyDetails").items() {
		guardDutyKey(g, item)
	}
	workload := resource.get("kubernetesDetails", "kubernetesWorkloadDetails")
	if name, kind := workload.str("name"), workload.str("type"); name != "" && (kind == "" || kind == "pods" || kind == "Pod") {
		g.add(entity.Entity{
			Kind: entity.Pod, ID: firstOf(workload.str("namespace"), "default") + "/" + name, Part: entity.Target, Provider: provider,
			Account: g.at.account, Region: g.at.region, From: "resource.kubernetesDetails.kubernetesWorkloadDetails", Derived: true,
		})
	}
}

// guardDutyKey adds whose credentials were used: they act, whatever they act upon.
func guardDutyKey(g *gather, details value) {
	const from = "resource.accessKeyDetails."
	g.name(entity.AccessKey, entity.Actor, details.str("accessKeyId"), from+"accessKeyId")
	name := details.str("userName")
	switch details.str("userType") {
	case "IAMUser", "FederatedUser":
		g.name(entity.User, entity.Actor, name, from+"userName")
	case "AssumedRole", "Role":
		g.name(entity.Role, entity.Actor, name, from+"userName")
		if _, session, ok := strings.Cut(details.str("principalId"), ":"); ok && name != "" && g.at.account != "" {
			text := "arn:" + partition(g.at.region) + ":sts::" + g.at.account + ":assumed-role/" + name + "/" + session
			g.add(entity.Entity{
				Kind: entity.Session, ID: text, Part: entity.Actor, Provider: provider, Account: g.at.account, ARN: text,
				From: from + "principalId", Derived: true,
			})
		}
	case "Root":
		text := "arn:" + partition(g.at.region) + ":iam::" + g.at.account + ":root"
		g.add(entity.Entity{
			Kind: entity.Principal, ID: text, Part: entity.Actor, Provider: provider, Account: g.at.account, ARN: text,
			From: from + "userType", Derived: true,
		})
	}
}

// guardDutyActions are where the actions of a finding tell of the other end.
var guardDutyActions = []string{
	"networkConnectionAction", "awsApiCallAction", "kubernetesApiCallAction", "rdsLoginAttemptAction", "dnsRequestAction",
	"portProbeAction.portProbeDetails",
}

func guardDutyAction(g *gather, service value) {
	for _, name := range guardDutyActions {
		path := append([]string{"action"}, strings.Split(name, ".")...)
		from := "service.action." + name + "."
		service.each(path, func(action value) {
			for _, version := range []string{"ipAddressV4", "ipAddressV6"} {
				g.address(action.str("remoteIpDetails", version), from+"remoteIpDetails."+version)
			}
			g.name(entity.Domain, entity.Origin, action.str("domain"), from+"domain")
			g.name(entity.Domain, entity.Origin, action.str("domainDetails", "domain"), from+"domainDetails.domain")
			g.name(entity.UserAgent, entity.Origin, action.str("userAgent"), from+"userAgent")
			g.name(entity.Account, entity.Actor, action.str("remoteAccountDetails", "accountId"), from+"remoteAccountDetails.accountId")
			for _, affected := range action.get("affectedResources").fields() {
				g.arn(entity.Target, affected.text(), from+"affectedResources")
			}
		})
	}
	process := service.get("runtimeDetails", "process")
	g.name(entity.Process, entity.Target, process.str("executableSha256"), "service.runtimeDetails.process.executableSha256")
	g.name(entity.Process, entity.Target, process.str("executablePath"), "service.runtimeDetails.process.executablePath")
}

// guardDutySequence adds who and what an attack sequence is made of.
func guardDutySequence(g *gather, sequence value) {
	const from = "service.detection.sequence."
	for item := range sequence.get("actors").items() {
		user := item.get("user")
		kind := entity.User
		if t := user.str("type"); t == "AssumedRole" || t == "Role" {
			kind = entity.Role
		}
		g.name(kind, entity.Actor, user.str("name"), from+"actors.user.name")
		g.name(entity.AccessKey, entity.Actor, user.str("credentialUid"), from+"actors.user.credentialUid")
	}
	for item := range sequence.get("endpoints").items() {
		g.address(item.str("ip"), from+"endpoints.ip")
		g.name(entity.Domain, entity.Origin, item.str("domain"), from+"endpoints.domain")
	}
	for item := range sequence.get("resources").items() {
		uid := item.str("uid")
		if item.str("resourceType") == "AccessKey" {
			g.name(entity.AccessKey, entity.Actor, uid, from+"resources.uid")
			continue
		}
		g.arn(entity.Target, uid, from+"resources.uid")
	}
}

// guardDutyFinding makes a finding of a GuardDuty event.
func guardDutyFinding(ev event.Event, detail value) finding.Finding {
	service := detail.get("service")
	id := detail.str("id")
	f := finding.Finding{
		Fingerprint: guardDutyFingerprint(id),
		Product:     finding.GuardDuty,
		Type:        "guardduty:" + ev.Name,
		Title:       firstOf(detail.str("title"), ev.Name),
		Description: detail.str("description"),
		Severity:    guardDutySeverity(detail.float("severity")),
		FirstSeen:   momentOf(service.str("eventFirstSeen"), detail.str("createdAt")),
		LastSeen:    ev.Time,
		Count:       max(service.integer("count"), 1),
		Resolved:    service.str("archived") == "true",
		Reference: reference("detector_id", service.str("detectorId"), "finding_id", id,
			"region", ev.Region, "account", ev.Account),
	}
	for item := range service.get("detection", "sequence", "signals").items() {
		for indicator := range item.get("signalIndicators").items() {
			f.Attack, f.Tactics = technique(indicator, f.Attack, f.Tactics)
		}
	}
	return f
}

// technique takes the ATT&CK names out of an indicator of an attack sequence.
func technique(indicator value, techniques, tactics []string) ([]string, []string) {
	var list *[]string
	switch indicator.str("key") {
	case "ATTACK_TECHNIQUE":
		list = &techniques
	case "ATTACK_TACTIC":
		list = &tactics
	default:
		return techniques, tactics
	}
	for item := range indicator.get("values").items() {
		if text := item.text(); text != "" {
			*list = append(*list, strings.ToLower(strings.ReplaceAll(text, " ", "-")))
		}
	}
	return techniques, tactics
}

// guardDutyFingerprint is the same whether GuardDuty or Security Hub tells of the finding.
func guardDutyFingerprint(id string) string {
	return finding.Fingerprint(string(finding.GuardDuty), id)
}

// guardDutySeverity is the name of GuardDuty's ranges: low to 3.9, medium to 6.9, high to 8.9, critical
// from 9.
func guardDutySeverity(number float64) finding.Severity {
	switch {
	case number >= 9:
		return finding.Critical
	case number >= 7:
		return finding.High
	case number >= 4:
		return finding.Medium
	case number >= 1:
		return finding.Low
	case number > 0:
		return finding.Informational
	}
	return finding.Unknown
}

// reference makes a finding's reference of names and values; those without a value are left out.
func reference(pairs ...string) map[string]string {
	found := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			found[pairs[i]] = pairs[i+1]
		}
	}
	return found
}
