package aws

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/riposte-sec/riposte/internal/fault"
)

// Template is what a role's template is made of. The documents are made for Symbols, so that the template
// fills in account and partition where it is deployed, unless both are known.
type Template struct {
	Part      Part
	Role      string // its name, with its path if it has one
	Documents []Document
	// HomeRole is the ARN of the role that may assume this one; the template asks for it if empty.
	HomeRole string
	// ExternalID says that one must be given to assume the role. The template asks for it.
	ExternalID bool
}

// rolePath is the path of the template's role, such as / or /security/.
func (t Template) rolePath() string {
	if at := strings.LastIndexByte(t.Role, '/'); at >= 0 {
		return "/" + strings.TrimPrefix(t.Role[:at+1], "/")
	}
	return "/"
}

func (t Template) policyName(i int) string { return fmt.Sprintf("%s-%d", withoutPath(t.Role), i+1) }

// check refuses what would become another text in a template.
func (t Template) check() error {
	if !roleForm.MatchString(t.Role) {
		return fault.New(fault.Invalid, "%.100q is no name of a role", t.Role)
	}
	if t.HomeRole != "" && !principalForm.MatchString(t.HomeRole) {
		return fault.New(fault.Invalid, "%.200q is no ARN of a role or a user", t.HomeRole)
	}
	return nil
}

// Terraform renders the template for Terraform and OpenTofu. The member's role is made; the home's is there
// already, and its policies are attached to it.
func (t Template) Terraform() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	name := "riposte_" + string(t.Part)
	var out bytes.Buffer
	fmt.Fprintf(&out, "# Written by riposte permissions --format terraform --role %s. Rather write it anew than change it.\n\n", t.Part)
	if t.Part == Home {
		fmt.Fprintf(&out, "variable \"role_name\" {\n  type        = string\n  default     = %s\n  description = \"Name of the role that Riposte runs as.\"\n}\n\n",
			quote(withoutPath(t.Role)))
	} else {
		out.WriteString("variable \"home_role_arn\" {\n  type        = string\n")
		if t.HomeRole != "" {
			fmt.Fprintf(&out, "  default     = %s\n", quote(t.HomeRole))
		}
		out.WriteString("  description = \"ARN of the role that Riposte runs as, which may assume this one.\"\n}\n\n")
		if t.ExternalID {
			out.WriteString("variable \"external_id\" {\n  type        = string\n  sensitive   = true\n  description = \"What aws.external_id is in Riposte's configuration.\"\n}\n\n")
		}
	}
	fmt.Fprintf(&out, "data \"aws_caller_identity\" \"%[1]s\" {}\n\ndata \"aws_partition\" \"%[1]s\" {}\n\n"+
		"locals {\n  %[1]s_account   = data.aws_caller_identity.%[1]s.account_id\n  %[1]s_partition = data.aws_partition.%[1]s.partition\n}\n\n", name)
	role := "var.role_name"
	if t.Part == Member {
		role = "aws_iam_role." + name + ".name"
		t.terraformRole(&out, name)
	}
	for i, d := range t.Documents {
		if err := t.terraformPolicy(&out, name, role, i, d); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func (t Template) terraformRole(out *bytes.Buffer, name string) {
	fmt.Fprintf(out, "resource \"aws_iam_role\" \"%s\" {\n  name = %s\n  path = %s\n  assume_role_policy = jsonencode({\n"+
		"    Version = \"2012-10-17\"\n    Statement = [{\n      Effect    = \"Allow\"\n      Principal = { AWS = var.home_role_arn }\n"+
		"      Action    = \"sts:AssumeRole\"\n", name, quote(withoutPath(t.Role)), quote(t.rolePath()))
	if t.ExternalID {
		out.WriteString("      Condition = { StringEquals = { \"sts:ExternalId\" = var.external_id } }\n")
	}
	out.WriteString("    }]\n  })\n}\n\n")
}

func (t Template) terraformPolicy(out *bytes.Buffer, name, role string, i int, d Document) error {
	text, err := d.Text()
	if err != nil {
		return err
	}
	filled := strings.NewReplacer(
		"${", "$${", "%{", "%%{", accountSymbol, "${local."+name+"_account}", partitionSymbol, "${local."+name+"_partition}",
	).Replace(strings.TrimSpace(string(text)))
	indented := strings.ReplaceAll(filled, "\n", "\n    ")
	fmt.Fprintf(out, "resource \"aws_iam_policy\" \"%[1]s_%[2]d\" {\n  name   = %[3]s\n  policy = <<-POLICY\n    %[4]s\n  POLICY\n}\n\n",
		name, i+1, quote(t.policyName(i)), indented)
	fmt.Fprintf(out, "resource \"aws_iam_role_policy_attachment\" \"%[1]s_%[2]d\" {\n  role       = %[3]s\n  policy_arn = aws_iam_policy.%[1]s_%[2]d.arn\n}\n",
		name, i+1, role)
	if i+1 < len(t.Documents) {
		out.WriteString("\n")
	}
	return nil
}

// quote writes a text as a string of Terraform's language; it holds nothing that check lets pass and that
// would end it.
func quote(text string) string { return strconv.Quote(text) }

// CloudFormation renders the template for CloudFormation, as a stack or as a stack set over an organisation.
// The member's role is made; the home's is there already, and its policies are attached to it.
func (t Template) CloudFormation() ([]byte, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	parameters, resources, outputs := &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.MappingNode}
	var arns []any
	for i := range t.Documents {
		arns = append(arns, reference(policyID(i)))
	}
	if t.Part == Home {
		put(parameters, "RoleName", mapping("Type", "String", "Default", withoutPath(t.Role), "Description", "Name of the role that Riposte runs as."))
	} else {
		home := mapping("Type", "String", "AllowedPattern", principalForm.String(),
			"Description", "ARN of the role that Riposte runs as, which may assume this one.")
		if t.HomeRole != "" {
			put(home, "Default", node(t.HomeRole))
		}
		put(parameters, "HomeRoleArn", home)
		trusts := mapping("Effect", "Allow", "Principal", mapping("AWS", reference("HomeRoleArn")), "Action", "sts:AssumeRole")
		if t.ExternalID {
			put(parameters, "ExternalId", mapping("Type", "String", "NoEcho", true, "MinLength", 2,
				"Description", "What aws.external_id is in Riposte's configuration."))
			put(trusts, "Condition", mapping("StringEquals", mapping("sts:ExternalId", reference("ExternalId"))))
		}
		put(resources, "Role", mapping("Type", "AWS::IAM::Role", "Properties", mapping(
			"RoleName", withoutPath(t.Role), "Path", t.rolePath(),
			"AssumeRolePolicyDocument", mapping("Version", "2012-10-17", "Statement", []any{trusts}),
			"ManagedPolicyArns", arns)))
		put(outputs, "RoleArn", mapping("Value", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!GetAtt", Value: "Role.Arn"}))
	}
	for i, d := range t.Documents {
		properties := mapping("ManagedPolicyName", t.policyName(i), "PolicyDocument", d.node())
		if t.Part == Home {
			put(properties, "Roles", node([]any{reference("RoleName")}))
		}
		put(resources, policyID(i), mapping("Type", "AWS::IAM::ManagedPolicy", "Properties", properties))
		put(outputs, policyID(i)+"Arn", mapping("Value", reference(policyID(i))))
	}
	whole := mapping("AWSTemplateFormatVersion", "2010-09-09",
		"Description", "What Riposte's "+string(t.Part)+" role may do. Written by riposte permissions; rather write it anew than change it.",
		"Parameters", parameters, "Resources", resources, "Outputs", outputs)
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(whole); err != nil {
		return nil, fmt.Errorf("write template: %w", err)
	}
	return out.Bytes(), nil
}

func policyID(i int) string { return "Policy" + strconv.Itoa(i+1) }

// node is the document in a template.
func (d Document) node() *yaml.Node {
	var list []any
	for _, s := range d.Statement {
		one := mapping("Sid", s.Sid, "Effect", s.Effect, "Action", filledAll(s.Action), "Resource", filledAll(s.Resource))
		if len(s.Condition) > 0 {
			put(one, "Condition", conditionNode(s.Condition))
		}
		list = append(list, one)
	}
	return mapping("Version", d.Version, "Statement", list)
}

func conditionNode(conditions map[string]map[string][]string) *yaml.Node {
	made := &yaml.Node{Kind: yaml.MappingNode}
	for _, operator := range slices.Sorted(maps.Keys(conditions)) {
		keys := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.Sorted(maps.Keys(conditions[operator])) {
			put(keys, key, node(filledAll(conditions[operator][key])))
		}
		put(made, operator, keys)
	}
	return made
}

// filledAll lets the template fill in places where texts name them.
func filledAll(texts []string) []any {
	all := make([]any, 0, len(texts))
	for _, text := range texts {
		if !strings.Contains(text, accountSymbol) && !strings.Contains(text, partitionSymbol) {
			all = append(all, text)
			continue
		}
		value := strings.NewReplacer("${", "${!", accountSymbol, "${AWS::AccountId}", partitionSymbol, "${AWS::Partition}").Replace(text)
		all = append(all, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!Sub", Style: yaml.DoubleQuotedStyle, Value: value})
	}
	return all
}

func reference(to string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!Ref", Value: to}
}

// mapping makes a mapping of keys and values in their order.
func mapping(pairs ...any) *yaml.Node {
	made := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i+1 < len(pairs); i += 2 {
		put(made, fmt.Sprint(pairs[i]), node(pairs[i+1]))
	}
	return made
}

func put(into *yaml.Node, key string, value *yaml.Node) {
	into.Content = append(into.Content, node(key), value)
}

// node makes a node of a node, a text, a truth, a number or a list.
func node(v any) *yaml.Node {
	switch v := v.(type) {
	case *yaml.Node:
		return v
	case []any:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range v {
			list.Content = append(list.Content, node(item))
		}
		return list
	case string:
		made := &yaml.Node{}
		made.SetString(v)
		return made
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}
}
