package app_test

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/app"
	"github.com/riposte-sec/riposte/internal/entity"
	"github.com/riposte-sec/riposte/internal/expr"
	"github.com/riposte-sec/riposte/internal/finding"
	"github.com/riposte-sec/riposte/internal/playbook"
)

// guardDutyTypes are GuardDuty's types of findings, those of a family in one line, with a severity that it gives them,
// the entities that it names, and the playbooks that must answer, which are all that may.
const guardDutyTypes = `
# EC2
Backdoor:EC2/C&CActivity.B C&CActivity.B!DNS DenialOfService.Dns DenialOfService.Tcp DenialOfService.Udp DenialOfService.UdpOnTcpPorts DenialOfService.UnusualProtocol Spambot | medium | instance | isolate-compromised-instance
Behavior:EC2/NetworkPortUnusual TrafficVolumeUnusual | medium | instance | look-into-unusual-instance
CryptoCurrency:EC2/BitcoinTool.B BitcoinTool.B!DNS | high | instance | stop-cryptomining-instance isolate-compromised-instance
DefenseEvasion:EC2/UnusualDNSResolver UnusualDoHActivity UnusualDoTActivity | medium | instance | look-into-unusual-instance
Impact:EC2/AbusedDomainRequest.Reputation BitcoinDomainRequest.Reputation MaliciousDomainRequest.Reputation MaliciousDomainRequest.Custom PortSweep WinRMBruteForce | medium | instance | isolate-compromised-instance
Impact:EC2/SuspiciousDomainRequest.Reputation | low | instance | tell-about-minor-finding
Recon:EC2/PortProbeEMRUnprotectedPort | high | instance security_group | close-probed-port
Recon:EC2/PortProbeUnprotectedPort | low | instance security_group | close-probed-port
Recon:EC2/Portscan | medium | instance | isolate-compromised-instance
Trojan:EC2/BlackholeTraffic BlackholeTraffic!DNS DGADomainRequest.B DGADomainRequest.C!DNS DNSDataExfiltration DriveBySourceTraffic!DNS DropPoint DropPoint!DNS PhishingDomainRequest!DNS | medium | instance | isolate-compromised-instance
UnauthorizedAccess:EC2/MaliciousIPCaller.Custom TorClient TorRelay | medium | instance | isolate-compromised-instance
UnauthorizedAccess:EC2/MetadataDNSRebind | high | instance | protect-instance-metadata isolate-compromised-instance
UnauthorizedAccess:EC2/RDPBruteForce SSHBruteForce | low | instance subnet ip | block-attacker-of-instance
UnauthorizedAccess:EC2/RDPBruteForce SSHBruteForce | high | instance subnet ip | isolate-compromised-instance

# Callers of IAM, by a long-lived key, a user's session, a role's session, and root
CredentialAccess:IAMUser/AnomalousBehavior CompromisedCredentials | medium | key user | contain-leaked-access-key
CredentialAccess:IAMUser/AnomalousBehavior CompromisedCredentials | medium | session user | contain-abused-session
CredentialAccess:IAMUser/AnomalousBehavior CompromisedCredentials | medium | session role | revoke-stolen-role-sessions
DefenseEvasion:IAMUser/AnomalousBehavior | medium | key user | contain-leaked-access-key
DefenseEvasion:IAMUser/AnomalousBehavior | medium | session role | contain-abused-session
DefenseEvasion:IAMUser/BedrockLoggingDisabled | low | user | tell-about-weakened-logging
Discovery:IAMUser/AnomalousBehavior | low | key user | tell-about-minor-finding
Exfiltration:IAMUser/AnomalousBehavior | high | key user | contain-leaked-access-key
Exfiltration:IAMUser/AnomalousBehavior | high | session role | contain-abused-session
Impact:IAMUser/AnomalousBehavior | high | key user | contain-leaked-access-key
Impact:IAMUser/AnomalousBehavior | high | session user | contain-abused-session
Impact:IAMUser/AnomalousBehavior | high | root | tell-about-root-behaviour
InitialAccess:IAMUser/AnomalousBehavior | medium | key user | contain-leaked-access-key
InitialAccess:IAMUser/AnomalousBehavior | medium | session role | contain-abused-session
PenTest:IAMUser/KaliLinux ParrotLinux PentooLinux | medium | key user | contain-leaked-access-key
PenTest:IAMUser/KaliLinux ParrotLinux PentooLinux | medium | session role | contain-abused-session
Persistence:IAMUser/AnomalousBehavior | medium | key user | contain-leaked-access-key
Persistence:IAMUser/AnomalousBehavior | medium | session role | contain-abused-session
Persistence:IAMUser/AnomalousBehavior | high | user | quarantine-user
Policy:IAMUser/RootCredentialUsage ShortTermRootCredentialUsage | low | root | tell-about-root-use
PrivilegeEscalation:IAMUser/AnomalousBehavior | medium | key user | contain-leaked-access-key
PrivilegeEscalation:IAMUser/AnomalousBehavior | medium | session role | contain-abused-session
Recon:IAMUser/MaliciousIPCaller MaliciousIPCaller.Custom TorIPCaller | medium | key user | contain-leaked-access-key
Recon:IAMUser/MaliciousIPCaller MaliciousIPCaller.Custom TorIPCaller | medium | session role | contain-abused-session
Stealth:IAMUser/CloudTrailLoggingDisabled | low | user trail | restore-trail-logging
Stealth:IAMUser/PasswordPolicyChange | low | user | strengthen-password-policy
UnauthorizedAccess:IAMUser/ConsoleLoginSuccess.B | medium | user | contain-abused-session
UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.InsideAWS InstanceCredentialExfiltration.OutsideAWS | high | session role instance | revoke-stolen-role-sessions protect-instance-metadata
UnauthorizedAccess:IAMUser/MaliciousIPCaller MaliciousIPCaller.Custom TorIPCaller | medium | key user | contain-leaked-access-key
UnauthorizedAccess:IAMUser/MaliciousIPCaller MaliciousIPCaller.Custom TorIPCaller ResourceCredentialExfiltration.OutsideAWS | medium | session role | contain-abused-session

# S3
Discovery:S3/AnomalousBehavior | low | bucket key user | tell-about-minor-finding
Discovery:S3/MaliciousIPCaller MaliciousIPCaller.Custom TorIPCaller | medium | bucket key user | contain-bucket-theft
Exfiltration:S3/AnomalousBehavior MaliciousIPCaller | high | bucket session role | contain-bucket-theft
Impact:S3/AnomalousBehavior.Delete AnomalousBehavior.Permission AnomalousBehavior.Write MaliciousIPCaller | high | bucket key user | contain-bucket-destruction
PenTest:S3/KaliLinux ParrotLinux PentooLinux | medium | bucket key user | contain-bucket-theft
Policy:S3/AccountBlockPublicAccessDisabled | low | user | close-public-account
Policy:S3/BucketAnonymousAccessGranted BucketPublicAccessGranted BucketBlockPublicAccessDisabled | low | bucket user | close-public-bucket
Stealth:S3/ServerAccessLoggingDisabled | low | bucket user | tell-about-weakened-logging
UnauthorizedAccess:S3/MaliciousIPCaller.Custom TorIPCaller | high | bucket key user | contain-bucket-theft

# Kubernetes' audit log
CredentialAccess:Kubernetes/AnomalousBehavior.SecretsAccessed | medium | cluster session role | contain-cluster-credentials
CredentialAccess:Kubernetes/AnomalousBehavior.SecretsAccessed | medium | cluster | tell-about-cluster-weakness
CredentialAccess:Kubernetes/MaliciousIPCaller MaliciousIPCaller.Custom SuccessfulAnonymousAccess TorIPCaller | high | cluster | restrict-attacked-cluster
DefenseEvasion:Kubernetes/MaliciousIPCaller MaliciousIPCaller.Custom SuccessfulAnonymousAccess TorIPCaller | high | cluster | restrict-attacked-cluster
Discovery:Kubernetes/AnomalousBehavior.PermissionChecked | low | cluster user | tell-about-minor-finding
Discovery:Kubernetes/MaliciousIPCaller MaliciousIPCaller.Custom SuccessfulAnonymousAccess TorIPCaller | medium | cluster | restrict-attacked-cluster
Execution:Kubernetes/AnomalousBehavior.ExecInPod ExecInKubeSystemPod | medium | cluster pod | isolate-compromised-pod
Execution:Kubernetes/AnomalousBehavior.WorkloadDeployed | low | cluster pod | tell-about-minor-finding
Impact:Kubernetes/MaliciousIPCaller MaliciousIPCaller.Custom SuccessfulAnonymousAccess TorIPCaller | high | cluster | restrict-attacked-cluster
Persistence:Kubernetes/MaliciousIPCaller MaliciousIPCaller.Custom SuccessfulAnonymousAccess TorIPCaller | medium | cluster | restrict-attacked-cluster
Persistence:Kubernetes/ContainerWithSensitiveMount AnomalousBehavior.WorkloadDeployed!ContainerWithSensitiveMount | medium | cluster pod | isolate-compromised-pod
Persistence:Kubernetes/ContainerWithSensitiveMount AnomalousBehavior.WorkloadDeployed!ContainerWithSensitiveMount | medium | cluster | tell-about-cluster-weakness
Policy:Kubernetes/AdminAccessToDefaultServiceAccount ExposedDashboard KubeflowDashboardExposed | high | cluster | tell-about-cluster-weakness
Policy:Kubernetes/AnonymousAccessGranted | high | cluster | restrict-attacked-cluster
PrivilegeEscalation:Kubernetes/AnomalousBehavior.RoleBindingCreated | medium | cluster session role | contain-cluster-credentials
PrivilegeEscalation:Kubernetes/AnomalousBehavior.RoleCreated | low | cluster user | tell-about-minor-finding
PrivilegeEscalation:Kubernetes/AnomalousBehavior.WorkloadDeployed!PrivilegedContainer PrivilegedContainer | medium | cluster pod | isolate-compromised-pod

# Databases
CredentialAccess:RDS/AnomalousBehavior.FailedLogin | low | database | tell-about-minor-finding
CredentialAccess:RDS/AnomalousBehavior.SuccessfulBruteForce AnomalousBehavior.SuccessfulLogin MaliciousIPCaller.SuccessfulLogin TorIPCaller.SuccessfulLogin MaliciousIPCaller.FailedLogin TorIPCaller.FailedLogin | medium | database | contain-database-intrusion
Discovery:RDS/MaliciousIPCaller TorIPCaller | medium | database | contain-database-intrusion

# Lambda
Backdoor:Lambda/C&CActivity.B | high | function | freeze-compromised-function
CryptoCurrency:Lambda/BitcoinTool.B | high | function | freeze-compromised-function
Trojan:Lambda/BlackholeTraffic DropPoint | medium | function | freeze-compromised-function
UnauthorizedAccess:Lambda/MaliciousIPCaller.Custom TorClient TorRelay | medium | function | freeze-compromised-function

# Malicious files
Execution:EC2/MaliciousFile SuspiciousFile | medium | instance | isolate-compromised-instance
Execution:EC2/MaliciousFile!Snapshot | high | snapshot | contain-infected-snapshot
Execution:EC2/MaliciousFile!AMI | high | image | contain-infected-snapshot
Execution:EC2/MaliciousFile!RecoveryPoint | high | resource | contain-infected-snapshot
Execution:S3/MaliciousFile!RecoveryPoint | high | resource | contain-infected-snapshot
Execution:Container/MaliciousFile SuspiciousFile | medium | instance container | isolate-compromised-instance
Execution:ECS/MaliciousFile SuspiciousFile | medium | cluster task | stop-compromised-task
Execution:Kubernetes/MaliciousFile SuspiciousFile | medium | cluster pod | isolate-compromised-pod
Object:S3/MaliciousFile | high | bucket object | hold-malicious-object

# Attack sequences
AttackSequence:IAM/CompromisedCredentials | critical | key user | contain-attack-sequence
AttackSequence:S3/CompromisedData | critical | bucket session role | contain-attack-sequence
AttackSequence:EKS/CompromisedCluster | critical | cluster | contain-attack-sequence
AttackSequence:ECS/CompromisedCluster | critical | cluster | contain-attack-sequence
AttackSequence:EC2/CompromisedInstanceGroup | critical | instance | contain-attack-sequence
`

// guardDutyRuntime are the types of what the processes of hosts, pods and tasks do.
const guardDutyRuntime = `
Backdoor:Runtime/C&CActivity.B C&CActivity.B!DNS
CryptoCurrency:Runtime/BitcoinTool.B BitcoinTool.B!DNS
DefenseEvasion:Runtime/FilelessExecution ProcessInjection.Proc ProcessInjection.Ptrace ProcessInjection.VirtualMemoryWrite PtraceAntiDebugging SuspiciousCommand KernelModuleLoaded
Discovery:Runtime/SuspiciousCommand
Execution:Runtime/MaliciousFileExecuted NewBinaryExecuted NewLibraryLoaded ReverseShell SuspiciousCommand SuspiciousShellCreated SuspiciousTool
Impact:Runtime/AbusedDomainRequest.Reputation BitcoinDomainRequest.Reputation CryptoMinerExecuted MaliciousDomainRequest.Reputation SuspiciousDomainRequest.Reputation
Persistence:Runtime/SuspiciousCommand
PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified ContainerMountsHostDirectory DockerSocketAccessed ElevationToRoot RuncContainerEscape SuspiciousCommand UserfaultfdUsage
Trojan:Runtime/BlackholeTraffic BlackholeTraffic!DNS DGADomainRequest.C!DNS DriveBySourceTraffic!DNS DropPoint DropPoint!DNS PhishingDomainRequest!DNS
UnauthorizedAccess:Runtime/MetadataDNSRebind TorClient TorRelay
`

// named gives an entity for a word of the table.
func named(word string) entity.Entity {
	e := entity.Entity{Kind: entity.Kind(word), ID: word, Part: entity.Target, Account: "111122223333", Region: "eu-west-1"}
	switch word {
	case "key":
		e.Kind, e.ID = entity.AccessKey, "AKIAIOSFODNN7EXAMPLE"
	case "session":
		e.Kind, e.ID = entity.AccessKey, "ASIAIOSFODNN7EXAMPLE"
	case "root":
		e.Kind, e.ID = entity.Principal, "arn:aws:iam::111122223333:root"
	case "task":
		e.Kind, e.ID = entity.Resource, "arn:aws:ecs:eu-west-1:111122223333:task/main/0123456789abcdef0123456789abcdef"
	case "object":
		e.ID = "bucket/key"
	}
	return e
}

// whoAnswers names the playbooks that answer a finding of GuardDuty.
func whoAnswers(t *testing.T, books []*playbook.Playbook, kind, severity, entities string) []string {
	t.Helper()
	level, err := finding.ParseSeverity(severity)
	if err != nil {
		t.Fatal(err)
	}
	f := finding.Finding{
		Product: finding.GuardDuty, Type: "guardduty:" + kind, Severity: level, Title: kind, Account: "111122223333", Region: "eu-west-1",
	}
	for word := range strings.FieldsSeq(entities) {
		f.Entities = append(f.Entities, named(word))
	}
	var names []string
	for _, book := range books {
		answers, err := book.Answers(t.Context(), f.Type, expr.Scope{expr.Finding: expr.ViewFinding(&f)})
		if err != nil {
			t.Errorf("%s of %s: %s: %v", kind, entities, book.Name, err)
		}
		if answers {
			names = append(names, book.Name)
		}
	}
	return names
}

// typesOf gives the types of a line: a family with its first name, and the others.
func typesOf(line string) []string {
	names := strings.Fields(line)
	family, _, _ := strings.Cut(names[0], "/")
	types := names[:1]
	for _, name := range names[1:] {
		types = append(types, family+"/"+name)
	}
	return types
}

func shippedPlaybooks(t *testing.T) []*playbook.Playbook {
	t.Helper()
	loaded, err := load(app.ContentConfig{Shipped: true})
	if err != nil {
		t.Fatal(err)
	}
	return loaded.Playbooks
}

// TestEveryGuardDutyFindingIsAnswered holds the shipped playbooks against all types of findings: the one that is meant
// answers, and what only tells people doesn't stand in for one that contains.
func TestEveryGuardDutyFindingIsAnswered(t *testing.T) {
	t.Parallel()
	books := shippedPlaybooks(t)
	for line := range strings.Lines(guardDutyTypes) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cells := strings.Split(line, " | ")
		for _, kind := range typesOf(cells[0]) {
			got, want := whoAnswers(t, books, kind, cells[1], cells[2]), strings.Fields(cells[3])
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s, %s, of %s: answered by %q, want %q", kind, cells[1], cells[2], got, want)
			}
		}
	}
}

// TestWhatRunsIsContainedWhereItRuns holds each type of runtime monitoring against hosts, pods and tasks: no host is
// isolated for a pod or a task of it, but for a container that broke out.
func TestWhatRunsIsContainedWhereItRuns(t *testing.T) {
	t.Parallel()
	books := shippedPlaybooks(t)
	for line := range strings.Lines(strings.TrimSpace(guardDutyRuntime)) {
		for _, kind := range typesOf(line) {
			for entities, want := range map[string]string{
				"instance": "isolate-compromised-instance", "instance cluster": "isolate-compromised-instance",
				"instance cluster pod": "isolate-compromised-pod", "cluster task": "stop-compromised-task", "instance cluster task": "stop-compromised-task",
			} {
				got := whoAnswers(t, books, kind, "high", entities)
				if !slices.Contains(got, want) {
					t.Errorf("%s of %s: answered by %q, want %s among them", kind, entities, got, want)
				}
				if want != "isolate-compromised-instance" && (slices.Contains(got, "isolate-compromised-instance") || slices.Contains(got, "stop-cryptomining-instance")) {
					t.Errorf("%s of %s: answered by %q; its host is not to be touched", kind, entities, got)
				}
				if low := whoAnswers(t, books, kind, "low", entities); !slices.Equal(low, []string{"tell-about-minor-finding"}) {
					t.Errorf("%s of %s, low: answered by %q, want people told", kind, entities, low)
				}
			}
		}
	}
}

// descriptionParts are what the description of a playbook for GuardDuty says, each on a line of its own.
var descriptionParts = []string{"Prerequisites", "Detect", "Analyse", "Contain", "Eradicate", "Recover", "Escalation", "Expected outcome"}

// TestPlaybooksForGuardDutySayWhatTheyAre asks each for its description's parts, a summary of one sentence, and tests.
func TestPlaybooksForGuardDutySayWhatTheyAre(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, book := range shippedPlaybooks(t) {
		own := !slices.ContainsFunc(book.Findings, func(f string) bool { return !strings.HasPrefix(f, "guardduty:") })
		if !own { // rules start it too
			continue
		}
		seen++
		var parts []string
		for line := range strings.Lines(book.Description) {
			name, said, _ := strings.Cut(line, ": ")
			if !slices.Contains(descriptionParts, name) && len(parts) > 0 {
				continue // of the part before
			}
			if parts = append(parts, name); len(strings.TrimSpace(said)) < 5 {
				t.Errorf("%s: its description says nothing under %q", book.Name, name)
			}
		}
		if !slices.Equal(parts, descriptionParts) {
			t.Errorf("%s: its description has %q, want %q", book.Name, parts, descriptionParts)
		}
		if strings.Count(book.Summary, ".") != 1 || !strings.HasSuffix(book.Summary, ".") {
			t.Errorf("%s: the summary %q is not one sentence", book.Name, book.Summary)
		}
		tests, err := fs.ReadFile(content.Files, "playbooks/"+book.Name+"_test.yaml")
		least := 3
		if len(book.Findings) == 0 { // those that call it have more
			least = 2
		}
		if err != nil || strings.Count(string(tests), "- name: ") < least {
			t.Errorf("%s: fewer than %d tests: %v", book.Name, least, err)
		}
	}
	if seen < 20 {
		t.Errorf("%d playbooks for GuardDuty are shipped, want 20 at least", seen)
	}
}

// TestRealGuardDutyTypesAreKnown holds the table against findings that were recorded.
func TestRealGuardDutyTypesAreKnown(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for line := range strings.Lines(guardDutyTypes + guardDutyRuntime) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			for _, kind := range typesOf(strings.Split(line, " | ")[0]) {
				known[kind] = true
			}
		}
	}
	found := 0
	for _, folder := range []string{"guardduty", "eventbridge"} {
		root := os.DirFS("../../../shared/data/" + folder)
		_ = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return nil //nolint:nilerr // absent data is told below
			}
			text, err := fs.ReadFile(root, path)
			if err != nil {
				return err
			}
			for _, kind := range guardDutyType.FindAllString(string(text), -1) {
				if found++; !known[kind] && !strings.HasPrefix(kind, "Canary:") {
					t.Errorf("%s: the type %s is in no table", path, kind)
				}
			}
			return nil
		})
	}
	if found == 0 {
		t.Skip("no recorded findings in shared/data")
	}
}

var guardDutyType = regexp.MustCompile(`\b[A-Z][A-Za-z]+:(EC2|IAMUser|S3|Kubernetes|RDS|Lambda|Runtime)/[A-Za-z0-9&.!]+`)
