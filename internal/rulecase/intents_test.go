package rulecase_test

// Reasons that stand for several detections or tests.
const (
	changesOnly     = "it tells of every change of its kind, none of which is a threat by itself; a record of changes is what the lake is for"
	byMapper        = "a product's finding is a finding of ours as it is (internal/awslog); rules over it are for correlations"
	reachesOut      = "instances reach the internet by public addresses, their own or a NAT gateway's; two of them are riposte-aws-instance-credentials-used-from-two-addresses"
	sendsByRole     = "programs that send mail by a role ask for it every day; leaked keys are users'"
	publishesSlower = "findings published less often are all published"
	trigger         = "a function is given to a service or a role with every trigger; ours wants everybody or a whole account"
	keepsSnapshot   = "the last snapshot keeps the data"
	nodesOutside    = "nodes come to a public endpoint by addresses that a record doesn't tell from others; ours wants a service account"
	rewritten       = "a role that is rewritten to allow everything is as bad as a new one"
	noSource        = "Riposte doesn't read the access logs of S3; what it needs is in data events"
)

// intents says for each detection over a log of which we have rules what ours make of it.
var intents = map[string]intent{
	"AWS.Bedrock.DeleteModelInvocationLoggingConfiguration": {rules: []string{"aws-bedrock-logging-deleted"}},
	"AWS.CloudTrail.AMIModifiedForPublicAccess":             {rules: []string{"aws-ami-shared"}},
	"AWS.CloudTrail.AttemptToLeaveOrg":                      {rules: []string{"aws-organization-leave"}},
	"AWS.CloudTrail.Created":                                {why: "a trail that is created takes nothing away"},
	"AWS.CloudTrail.EnableRegion": {rules: []string{"aws-region-enabled"}, differs: map[string]string{
		"EnableRegion": "the test's record says cloudtrail.amazonaws.com; the call is one of account.amazonaws.com",
	}},
	"AWS.CloudTrail.IAMAnythingChanged":          {why: changesOnly},
	"AWS.CloudTrail.IAMCompromisedKeyQuarantine": {rules: []string{"aws-compromised-key-quarantined"}},
	"AWS.CloudTrail.IMDSCredentialExfiltration": {
		rules: []string{"aws-instance-credentials-elsewhere", "aws-instance-role-recon"},
		differs: map[string]string{
			"IMDS Credentials Used From Public IP":                reachesOut,
			"IMDS Credentials Used From Amazon.com ASN Source IP": reachesOut,
		},
	},
	"AWS.CloudTrail.NetworkACLPermissiveEntry": {rules: []string{"aws-network-acl-opened"}},
	"AWS.CloudTrail.PasswordSpraying":          {rules: []string{"aws-console-sign-in-failed"}},
	"AWS.CloudTrail.RootAccessKeyCreated":      {rules: []string{"aws-root-key-created"}},
	"AWS.CloudTrail.SES.CheckIdentityVerifications": {rules: []string{"aws-ses-recon"}, differs: map[string]string{
		"GetIdentityVerificationStatus Event": sendsByRole,
	}},
	"AWS.CloudTrail.SES.CheckSendQuota": {rules: []string{"aws-ses-recon"}, differs: map[string]string{
		"GetSendQuota Event": sendsByRole,
	}},
	"AWS.CloudTrail.SecurityConfigurationChange": {rules: []string{
		"aws-cloudtrail-stopped", "aws-cloudtrail-weakened", "aws-config-recorder-stopped", "aws-config-rule-deleted",
		"aws-guardduty-disabled", "aws-vpc-flow-logs-deleted", "aws-waf-protection-removed",
	}},
	"AWS.CloudTrail.SnapshotMadePublic":  {rules: []string{"aws-ebs-snapshot-shared"}},
	"AWS.CloudTrail.UnauthorizedAPICall": {rules: []string{"aws-call-refused"}},
	"AWS.CloudTrail.VPCE.AccessDenied":   {rules: []string{"aws-vpc-endpoint-refused"}},
	"AWS.CloudTrail.VPCE.S3ExternalIP":   {why: "a call through an endpoint comes from within a network; where that has public addresses, all of its calls would be found"},
	"AWS.ConfigService.Created":          {why: "a recorder that is set up takes nothing away"},
	"AWS.Console.GetSigninToken.Abuse":   {rules: []string{"aws-console-session-made-from-credentials"}},
	"AWS.Console.LoginWithoutSAML":       {why: "which accounts have single sign-on isn't in a record; a password without MFA is found by riposte-aws-console-login-without-mfa"},
	"AWS.Console.RootLoginFailed":        {rules: []string{"aws-root-login-failed"}},
	"AWS.EC2.DownloadInstanceUserData":   {rules: []string{"aws-ec2-user-data-read"}},
	"AWS.EC2.GatewayModified":            {why: changesOnly},
	"AWS.EC2.ManualSecurityGroupChange":  {why: "who may change groups by hand is the organisation's; what opens one to all is found by riposte-aws-security-group-opened"},
	"AWS.EC2.Monitoring":                 {why: changesOnly},
	"AWS.EC2.NetworkACLModified":         {why: changesOnly},
	"AWS.EC2.SecurityGroupModified":      {why: changesOnly},
	"AWS.EC2.StopInstances":              {rules: []string{"aws-instances-stopped"}},
	"AWS.EC2.VPCModified":                {why: changesOnly},
	"AWS.ECR.CRUD":                       {why: "it wants a list of the organisation's accounts and regions; a repository opened to others is found by riposte-aws-ecr-repository-opened"},
	"AWS.IAM.AccessKeyCompromised":       {rules: []string{"aws-compromised-key-quarantined"}},
	"AWS.IAM.AttachAdminUserPolicy":      {rules: []string{"aws-iam-admin-policy-attached"}},
	"AWS.IAM.BackdoorRole":               {rules: []string{"aws-iam-role-trusts-anyone", "aws-iam-role-trust-backdoored"}},
	"AWS.IAM.CreateUser":                 {rules: []string{"aws-user-created"}},
	"AWS.IAM.Group.Read.Only.Events":     {why: "reads of groups are every console's; many kinds of reads by one key are found by riposte-aws-account-explored-by-key"},
	"AWS.IAMUser.ReconAccessDenied": {rules: []string{"aws-call-refused"}, differs: map[string]string{
		"Unauthorized API Call - From AWS console": "a person refused in the console counts as well; the correlations over it want many services or calls",
	}},
	"AWS.KMS.CustomerManagedKeyLoss": {rules: []string{"aws-kms-key-destroyed"}},
	"AWS.Lambda.UpdateFunctionCode":  {rules: []string{"aws-lambda-code-changed-by-user", "aws-lambda-code-changed-by-person"}},
	"AWS.Macie.Evasion": {rules: []string{"aws-macie-disabled"}, differs: map[string]string{
		"UpdateSession":                  publishesSlower,
		"UpdateSession (Macie v1 event)": publishesSlower,
	}},
	"AWS.Potential.Backdoor.Lambda": {rules: []string{"aws-lambda-opened"}, differs: map[string]string{
		"Lambda Add Permission Event":    trigger,
		"Lambda Add Permission Event v2": trigger,
	}},
	"AWS.RDS.AutomatedBackupDeleted":     {rules: []string{"aws-backups-deleted"}},
	"AWS.RDS.DeletionProtectionDisabled": {rules: []string{"aws-rds-deletion-protection-removed"}},
	"AWS.RDS.InstanceDeletion": {rules: []string{"aws-rds-deleted-without-snapshot"}, differs: map[string]string{
		"RDS Instance Deleted With Final Snapshot": keepsSnapshot,
		"RDS Cluster Deleted":                      keepsSnapshot,
	}},
	"AWS.RDS.InstanceRebooted":                      {why: "a restart of a database harms nothing that lasts"},
	"AWS.RDS.ManualSnapshotCreated":                 {rules: []string{"aws-rds-snapshot-made"}},
	"AWS.RDS.PublicRestore":                         {rules: []string{"aws-rds-made-public"}},
	"AWS.RDS.SnapshotCopiedCrossRegion":             {why: "copies in another region are how backups are kept; what leaves the account is found when it is shared or exported"},
	"AWS.RDS.SnapshotEnumeration":                   {why: "who lists public snapshots looks at those of others"},
	"AWS.RDS.SnapshotShared":                        {rules: []string{"aws-rds-snapshot-shared"}},
	"AWS.S3.BucketDeleted":                          {rules: []string{"aws-s3-bucket-deleted"}},
	"AWS.S3.CopyObject.CrossAccount.Encryption.KMS": {rules: []string{"aws-s3-objects-encrypted-with-key-of-another-account"}},
	"AWS.S3.CopyObjectWithClientSideEncryption":     {rules: []string{"aws-s3-objects-encrypted-with-foreign-key"}},
	"AWS.S3.DeleteBucketReplication":                {rules: []string{"aws-s3-replication-removed"}},
	"AWS.S3.DeleteObjects":                          {rules: []string{"aws-s3-objects-deleted"}},
	"AWS.S3.DisableBucketLogging":                   {rules: []string{"aws-s3-access-logging-disabled"}},
	"AWS.S3.RansomwareNoteUpload":                   {rules: []string{"aws-s3-ransom-note-written"}},
	"AWS.S3.SuspendVersioning": {rules: []string{"aws-s3-versioning-suspended"}, differs: map[string]string{
		"Versioning Disabled Successfully": "S3 knows no such state: versioning, once enabled, can only be suspended",
	}},
	"AWS.SSM.DistributedCommand": {rules: []string{"aws-ssm-command-sent"}, differs: map[string]string{
		"Single Command Send, No Cached IDs": "a script run as root on one instance is found already; many are riposte-aws-commands-sent-in-bulk",
	}},
	"AWS.STS.GetSessionToken.Misuse": {rules: []string{"aws-session-token-without-mfa"}},
	"AWS.SecretsManager.BatchRetrieveSecretsCatchAll": {rules: []string{"aws-secrets-batch-retrieved"}, differs: map[string]string{
		"BatchGetSecretValue Catch-All with other filters": "any filter gets secrets whose names the caller doesn't know",
	}},
	"AWS.SecretsManager.RetrieveSecretsMultiRegion": {rules: []string{"aws-secrets-batch-retrieved"}},
	"AWS.Software.Discovery":                        {why: "single reads are every tool's; many kinds of them by one key are found by riposte-aws-account-explored-by-key"},
	"AWS.Unsuccessful.MFA.attempt":                  {rules: []string{"aws-console-login-mfa-failed"}},
	"AWS.User.Login.Profile.Modified": {rules: []string{"aws-iam-login-profile-changed"}, differs: map[string]string{
		"ChangeOwnPassword": "the caller is a role; its session's name is of the caller's choice and proves nothing",
		"User changed password for other reset required": "who sets the password signs in first, and sets the next one",
	}},
	"AWS.WAF.Disassociation":                {rules: []string{"aws-waf-protection-removed"}},
	"Role.Assumed.by.AWS.Service":           {why: "services take on roles all day"},
	"Sign-in.with.AWS.CLI.prompt":           {why: "the record of the call is that of every sign-in by single sign-on"},
	"AWS.GuardDuty.CriticalSeverityFinding": {why: byMapper},
	"AWS.GuardDuty.LowSeverityFinding":      {why: byMapper},
	"AWS.S3.ServerAccess.Error":             {why: noSource},
	"AWS.S3.ServerAccess.Insecure":          {why: noSource},
	"AWS.S3.ServerAccess.UnknownRequester":  {why: noSource},
	"Amazon.EKS.AnonymousAPIAccess": {
		rules: []string{"kubernetes-anonymous-access", "kubernetes-call-refused-outside"},
		differs: map[string]string{
			"Anonymous API Access Web Scanner Allowed": "the version is for everybody, and scanners ask for it all day",
			"ELB Health Check from Public IP":          "the health is for everybody",
		},
	},
	"Amazon.EKS.Audit.SystemNamespaceFromPublicIP": {rules: []string{"kubernetes-system-account-from-outside"}, differs: map[string]string{
		"system user from non-AWS public IP - should alert":                                 nodesOutside,
		"attacker from non-AWS IP targeting AWS resource - should alert despite AWS target": nodesOutside,
	}},
	"Kubernetes.API.AnonymousAccess":           {rules: []string{"kubernetes-anonymous-access"}},
	"Kubernetes.API.Multiple403.PublicIP":      {rules: []string{"kubernetes-call-refused-outside"}},
	"Kubernetes.BulkSecretAccess":              {rules: []string{"kubernetes-secret-read"}},
	"Kubernetes.ClusterRoleBinding.Privileged": {rules: []string{"kubernetes-cluster-admin-bound"}},
	"Kubernetes.DaemonSet.Created":             {rules: []string{"kubernetes-daemonset-created"}},
	"Kubernetes.Kubectl.CP.Operation":          {rules: []string{"kubernetes-pod-files-copied"}},
	"Kubernetes.Pod.Exec":                      {rules: []string{"kubernetes-pod-exec"}},
	"Kubernetes.Pod.Host.Network":              {rules: []string{"kubernetes-pod-with-host-namespaces"}},
	"Kubernetes.Pod.HostPath.Volume":           {rules: []string{"kubernetes-pod-with-host-path"}},
	"Kubernetes.Pod.StealServiceAccountToken":  {rules: []string{"kubernetes-pod-token-read"}},
	"Kubernetes.Role.NodeProxyPermissions": {
		rules:   []string{"kubernetes-role-with-node-proxy", "kubernetes-role-with-wildcards"},
		differs: map[string]string{"Updating existing role (not creating)": rewritten},
	},
	"Kubernetes.Role.Wildcard": {
		rules:   []string{"kubernetes-role-with-wildcards"},
		differs: map[string]string{"Updating existing role (not creating)": rewritten},
	},
	"Kubernetes.Secret.AccessDenied": {rules: []string{"kubernetes-secrets-refused"}, differs: map[string]string{
		"EKS failed secret get (404 Not Found)": "programs look for secrets that aren't there yet",
		"List secrets operation (not get)":      "who lists secrets and is refused doesn't even know their names",
	}},
	"Kubernetes.Service.NodePort.Deployed": {rules: []string{"kubernetes-node-port-opened"}},
	"Kubernetes.System.Principal.PublicIP": {rules: []string{"kubernetes-system-account-from-outside"}},
}
