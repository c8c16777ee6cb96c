package aws_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyfunction "github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/provider/aws"
)

// everything is what the home and the member role need for all actions there are, for a template.
func everything(t *testing.T, part aws.Part) []aws.Need {
	t.Helper()
	config := aws.Config{AssumeRole: "security/riposte-responder"}
	asked := aws.Asked{Part: part, At: aws.Symbols([]string{"eu-central-1", "eu-west-1"}), Role: "riposte"}
	queues := []aws.QueueConfig{{URL: "https://sqs.eu-central-1.amazonaws.com/123456789012/riposte", Buckets: []string{"trail"}}}
	return must[[]aws.Need](t)(config.Needs(asked, duties(allSpecs()), queues))
}

// forged is a document with a condition that a template must not fill in.
func forged(t *testing.T) aws.Document {
	t.Helper()
	d := aws.Policy(everything(t, aws.Member))
	d.Statement = append(d.Statement, aws.Statement{
		Sid: "Own", Effect: "Allow", Action: []string{"s3:GetObject"}, Resource: []string{"arn:{partition}:s3:::logs-{account}/${aws:username}/%{if}/*"},
		Condition: map[string]map[string][]string{"ArnLike": {"aws:PrincipalArn": {"arn:{partition}:iam::{account}:role/*"}}, "StringEquals": {"x": {"${aws:PrincipalTag/team}"}}},
	})
	return d
}

func template(t *testing.T, part aws.Part) aws.Template {
	t.Helper()
	one := aws.Template{Part: part, Role: "security/riposte-responder", ExternalID: true, HomeRole: "arn:aws:iam::123456789012:role/riposte"}
	if part == aws.Home {
		one.Role, one.HomeRole, one.ExternalID = "riposte", "", false
	}
	one.Documents = must[[]aws.Document](t)(forged(t).Split(3000))
	if len(one.Documents) < 2 {
		t.Fatalf("got %d documents, want several", len(one.Documents))
	}
	return one
}

func TestDocumentsAreSplitAtAWSsLimit(t *testing.T) {
	whole := forged(t)
	if fits := must[[]aws.Document](t)(whole.Split(whole.Size())); len(fits) != 1 {
		t.Errorf("a document of %d characters is split into %d at that limit", whole.Size(), len(fits))
	}
	for _, limit := range []int{3500, aws.LargestManaged} {
		parts := must[[]aws.Document](t)(whole.Split(limit))
		granted := map[string]int{}
		for i, part := range parts {
			var dense any
			if err := json.Unmarshal([]byte(policyText(t, part)), &dense); err != nil {
				t.Fatal(err)
			}
			bare := strings.NewReplacer(" ", "", "\n", "", "{partition}", "aws-us-gov", "{account}", "123456789012").Replace(policyText(t, part))
			if part.Size() > limit || len(bare) > limit {
				t.Errorf("limit %d: part %d has %d characters, says %d", limit, i, len(bare), part.Size())
			}
			sids := map[string]bool{}
			for _, s := range part.Statement {
				if sids[s.Sid] || !regexp.MustCompile(`^[A-Za-z0-9]+$`).MatchString(s.Sid) {
					t.Errorf("limit %d: the id %q is there twice, or is none", limit, s.Sid)
				}
				sids[s.Sid] = true
			}
			each(part, func(grant string) { granted[grant]++ })
		}
		each(whole, func(grant string) {
			if granted[grant] != 1 {
				t.Errorf("limit %d: %s is there %d times", limit, grant, granted[grant])
			}
			delete(granted, grant)
		})
		if len(granted) > 0 {
			t.Errorf("limit %d: more is granted: %v", limit, granted)
		}
	}
	if _, err := whole.Split(300); !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v, want an error of kind invalid: a role has 10 policies", err)
	}
}

// each visits what a document grants: one permission on one resource under a condition.
func each(d aws.Document, see func(grant string)) {
	for _, s := range d.Statement {
		for _, act := range s.Action {
			for _, resource := range s.Resource {
				see(fmt.Sprint(s.Effect, act, resource, s.Condition))
			}
		}
	}
}

func TestTerraformIsTerraform(t *testing.T) {
	for _, part := range []aws.Part{aws.Home, aws.Member} {
		given := template(t, part)
		text := must[[]byte](t)(given.Terraform())
		if again := must[[]byte](t)(given.Terraform()); string(again) != string(text) {
			t.Error("two writings differ")
		}
		file, wrong := hclsyntax.ParseConfig(text, "riposte.tf", hcl.InitialPos)
		if wrong.HasErrors() {
			t.Fatalf("%v\n%s", wrong, text)
		}
		body, ok := file.Body.(*hclsyntax.Body)
		if !ok {
			t.Fatalf("got %T", file.Body)
		}
		name := "riposte_" + string(part)
		variables := map[string]cty.Value{}
		context := &hcl.EvalContext{
			Functions: map[string]ctyfunction.Function{"jsonencode": stdlib.JSONEncodeFunc},
			Variables: map[string]cty.Value{
				"local": cty.ObjectVal(map[string]cty.Value{name + "_account": cty.StringVal("111122223333"), name + "_partition": cty.StringVal("aws-cn")}),
			},
		}
		blocks := map[string]*hclsyntax.Body{}
		for _, block := range body.Blocks {
			key := block.Type + " " + strings.Join(block.Labels, " ")
			if blocks[key] != nil {
				t.Errorf("%s is there twice", key)
			}
			blocks[key] = block.Body
			if block.Type == "variable" {
				variables[block.Labels[0]] = cty.StringVal("given-" + block.Labels[0])
			}
		}
		context.Variables["var"] = cty.ObjectVal(variables)
		for i, want := range given.Documents {
			policy := blocks[fmt.Sprintf("resource aws_iam_policy %s_%d", name, i+1)]
			if policy == nil || blocks[fmt.Sprintf("resource aws_iam_role_policy_attachment %s_%d", name, i+1)] == nil {
				t.Fatalf("policy %d is not there, or not attached", i+1)
			}
			value, wrong := policy.Attributes["policy"].Expr.Value(context)
			if wrong.HasErrors() {
				t.Fatal(wrong)
			}
			if diff := cmp.Diff(strings.TrimSpace(filled(policyText(t, want))), strings.TrimSpace(value.AsString())); diff != "" {
				t.Errorf("policy %d as Terraform reads it (-want +got):\n%s", i+1, diff)
			}
		}
		role := blocks["resource aws_iam_role "+name]
		if (role != nil) != (part == aws.Member) {
			t.Fatalf("%s: is there a role: %t", part, role != nil)
		}
		if role == nil {
			continue
		}
		trust, wrong := role.Attributes["assume_role_policy"].Expr.Value(context)
		if wrong.HasErrors() {
			t.Fatal(wrong)
		}
		const want = `{"Statement":[{"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"given-external_id"}},` +
			`"Effect":"Allow","Principal":{"AWS":"given-home_role_arn"}}],"Version":"2012-10-17"}`
		if trust.AsString() != want {
			t.Errorf("the role trusts\n%s, want\n%s", trust.AsString(), want)
		}
	}
}

// filled is a policy as it is in an account of the test.
func filled(text string) string {
	return strings.NewReplacer("{account}", "111122223333", "{partition}", "aws-cn").Replace(text)
}

func TestCloudFormationHasItsShape(t *testing.T) {
	for _, part := range []aws.Part{aws.Home, aws.Member} {
		given := template(t, part)
		text := must[[]byte](t)(given.CloudFormation())
		var shape struct {
			Version     string `yaml:"AWSTemplateFormatVersion"`
			Description string `yaml:"Description"`
			Parameters  map[string]struct {
				Type           string `yaml:"Type"`
				Description    string `yaml:"Description"`
				Default        string `yaml:"Default"`
				AllowedPattern string `yaml:"AllowedPattern"`
				MinLength      int    `yaml:"MinLength"`
				NoEcho         bool   `yaml:"NoEcho"`
			} `yaml:"Parameters"`
			Resources map[string]struct {
				Type       string               `yaml:"Type"`
				Properties map[string]yaml.Node `yaml:"Properties"`
			} `yaml:"Resources"`
			Outputs map[string]any `yaml:"Outputs"`
		}
		strict := yaml.NewDecoder(strings.NewReader(string(text)))
		strict.KnownFields(true)
		if err := strict.Decode(&shape); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if shape.Version != "2010-09-09" || len(shape.Outputs) == 0 {
			t.Errorf("got version %q and %d outputs", shape.Version, len(shape.Outputs))
		}
		for _, found := range regexp.MustCompile(`!(Ref|GetAtt) ([A-Za-z0-9:]+)`).FindAllStringSubmatch(string(text), -1) {
			_, isResource := shape.Resources[found[2]]
			_, isParameter := shape.Parameters[found[2]]
			if !isResource && !isParameter {
				t.Errorf("%s is referred to and not there", found[2])
			}
		}
		for i, want := range given.Documents {
			one, there := shape.Resources[fmt.Sprintf("Policy%d", i+1)]
			if !there || one.Type != "AWS::IAM::ManagedPolicy" {
				t.Fatalf("policy %d is not there", i+1)
			}
			document := one.Properties["PolicyDocument"]
			substitute(&document)
			var got aws.Document
			var plain any
			if err := document.Decode(&plain); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(must[[]byte](t)(json.Marshal(plain)), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(filled(policyText(t, want)), policyText(t, got)); diff != "" {
				t.Errorf("policy %d as CloudFormation reads it (-want +got):\n%s", i+1, diff)
			}
		}
		role, there := shape.Resources["Role"]
		if there != (part == aws.Member) {
			t.Fatalf("%s: is there a role: %t", part, there)
		}
		if there {
			if managed := role.Properties["ManagedPolicyArns"]; len(managed.Content) != len(given.Documents) {
				t.Errorf("the role has %d policies, want %d", len(managed.Content), len(given.Documents))
			}
			if !shape.Parameters["ExternalId"].NoEcho || shape.Parameters["HomeRoleArn"].Default != given.HomeRole {
				t.Errorf("got the parameters %+v", shape.Parameters)
			}
			if !regexp.MustCompile(shape.Parameters["HomeRoleArn"].AllowedPattern).MatchString(given.HomeRole) {
				t.Error("the parameter does not take a role's ARN")
			}
		}
	}
}

// substitute does what CloudFormation does with Sub.
func substitute(n *yaml.Node) {
	if n.Tag == "!Sub" {
		n.Value = strings.NewReplacer("${AWS::AccountId}", "111122223333", "${AWS::Partition}", "aws-cn", "${!", "${").Replace(n.Value)
		n.Tag = "!!str"
	}
	for _, inner := range n.Content {
		substitute(inner)
	}
}

// What riposte writes it reads again, in every format, and finds nothing missing and nothing too much.
func TestTemplatesAreReadAgain(t *testing.T) {
	for _, part := range []aws.Part{aws.Home, aws.Member} {
		needs := everything(t, part)
		one := aws.Template{Part: part, Role: "riposte", Documents: must[[]aws.Document](t)(aws.Policy(needs).Split(3000))}
		folder := t.TempDir()
		for name, text := range map[string][]byte{
			"a.tf": must[[]byte](t)(one.Terraform()), "b.yaml": must[[]byte](t)(one.CloudFormation()),
			"c.json": []byte(policyText(t, aws.Policy(needs))), "d/.terraform/e.tf": []byte("{"), "README.md": []byte("{"),
		} {
			path := filepath.Join(folder, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"a.tf", "b.yaml", "c.json", "."} {
			have := must[[]aws.Document](t)(aws.ReadPolicies(filepath.Join(folder, name)))
			got := aws.Compare(have, needs)
			if len(got.Missing)+len(got.Excess)+len(got.Conditional) > 0 {
				t.Errorf("%s of the %s role: got %+v", name, part, got)
			}
			if name == "." && len(have) != 2*len(one.Documents)+1 {
				t.Errorf("got %d policies from the folder, want %d", len(have), 2*len(one.Documents)+1)
			}
		}
	}
}

func TestTemplatesRefuseWhatWouldBecomeTheirText(t *testing.T) {
	for _, one := range []aws.Template{
		{Part: aws.Member, Role: "a\" }"},
		{Part: aws.Member, Role: "${x}"},
		{Part: aws.Home, Role: ""},
		{Part: aws.Member, Role: "a", HomeRole: "arn:aws:iam::123456789012:role/x\"\n}"},
		{Part: aws.Member, Role: "a", HomeRole: "*"},
	} {
		_, terraform := one.Terraform()
		_, cloud := one.CloudFormation()
		if !fault.Is(terraform, fault.Invalid) || !fault.Is(cloud, fault.Invalid) {
			t.Errorf("%+v: got %v and %v, want errors of kind invalid", one, terraform, cloud)
		}
	}
}

func TestPartitionsAreKnownByTheirRegions(t *testing.T) {
	got := []string{}
	for _, region := range []string{"eu-central-1", "cn-north-1", "us-gov-west-1", "us-east-1", ""} {
		got = append(got, aws.PartitionOf(region))
	}
	if want := []string{"aws", "aws-cn", "aws-us-gov", "aws", "aws"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
