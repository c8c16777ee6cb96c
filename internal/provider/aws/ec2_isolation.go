package aws

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/riposte-sec/riposte/internal/action"
)

// isolation is which security groups the network interfaces of an instance are in, sorted by id.
type isolation struct {
	Interfaces []port `json:"interfaces"`

	unmovable []string // sentences about interfaces whose groups only AWS changes
}

// port is a network interface with its security groups: ids, or quarantine or passage.
type port struct {
	ID     string   `json:"id"`
	VPC    string   `json:"vpc"`
	Groups []string `json:"groups"`
}

func (p port) in(group string) bool { return len(p.Groups) == 1 && p.Groups[0] == group }

func (s *isolation) vpcs() []string {
	var vpcs []string
	for _, p := range s.Interfaces {
		vpcs = append(vpcs, p.VPC)
	}
	slices.Sort(vpcs)
	return slices.Compact(vpcs)
}

func (s *isolation) port(id string) (port, bool) {
	for _, p := range s.Interfaces {
		if p.ID == id {
			return p, true
		}
	}
	return port{}, false
}

// onTheWay reports whether each interface is where it was, in passage, or where it goes.
func onTheWay(from, now, to isolation) bool {
	if len(now.Interfaces) != len(from.Interfaces) {
		return false
	}
	for _, p := range now.Interfaces {
		start, there := from.port(p.ID)
		end, stays := to.port(p.ID)
		if known := there && stays && p.isOneOf(start, end); !known {
			return false
		}
	}
	return true
}

// isOneOf reports whether an interface is in passage, or in the groups of one of two states.
func (p port) isOneOf(start, end port) bool {
	return p.in(passage) || slices.Equal(p.Groups, start.Groups) || slices.Equal(p.Groups, end.Groups)
}

// readIsolation reads the groups of an instance's network interfaces.
func (c *Cloud) readIsolation(ctx context.Context, in action.Input) (isolation, error) {
	state := isolation{Interfaces: []port{}}
	api, err := c.ec2(in.Place)
	if err != nil {
		return state, err
	}
	id := in.Params.String("instance_id")
	pages := ec2.NewDescribeNetworkInterfacesPaginator(api,
		&ec2.DescribeNetworkInterfacesInput{Filters: where("attachment.instance-id", id)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, fmt.Errorf("describe network interfaces of %s: %w", id, classify(err))
		}
		for _, found := range page.NetworkInterfaces {
			state.add(found)
		}
	}
	if len(state.Interfaces) == 0 { // an unknown instance has none either
		_, err := c.instance(ctx, in)
		return state, err
	}
	slices.SortFunc(state.Interfaces, func(a, b port) int { return cmp.Compare(a.ID, b.ID) })
	found, err := readWards(ctx, api, id, state.vpcs())
	if err != nil {
		return state, err
	}
	for _, p := range state.Interfaces {
		for i, group := range p.Groups {
			p.Groups[i] = found[p.VPC].name(group)
		}
		slices.Sort(p.Groups)
	}
	return state, nil
}

func (s *isolation) add(found types.NetworkInterface) {
	id := aws.ToString(found.NetworkInterfaceId)
	if aws.ToBool(found.RequesterManaged) {
		s.unmovable = append(s.unmovable, fmt.Sprintf("the network interface %s is managed by %s, which alone can change its groups: "+
			"what goes through it is NOT cut", id, cmp.Or(aws.ToString(found.RequesterId), "an AWS service")))
		return
	}
	if found.InterfaceType == types.NetworkInterfaceTypeTrunk {
		s.unmovable = append(s.unmovable, fmt.Sprintf("the network interface %s is a trunk: branch interfaces of tasks and pods "+
			"on it have groups of their own and are NOT cut", id))
	}
	p := port{ID: id, VPC: aws.ToString(found.VpcId), Groups: []string{}}
	for _, group := range found.Groups {
		p.Groups = append(p.Groups, aws.ToString(group.GroupId))
	}
	s.Interfaces = append(s.Interfaces, p)
}

// mover moves interfaces between groups.
type mover struct {
	api   *ec2.Client
	in    action.Input
	wards map[string]wards
}

// prepare sees to it that the groups are there before anything moves.
func (m *mover) prepare(ctx context.Context, from, to isolation) error {
	for _, vpc := range to.vpcs() {
		isolates, passes := false, false
		for _, end := range to.Interfaces {
			isolates = isolates || end.VPC == vpc && end.in(quarantine)
			passes = passes || end.VPC == vpc && through(from, end)
		}
		w := m.wards[vpc]
		var err error
		if isolates {
			if w.quarantine, err = closedGroup(ctx, m.api, m.in, vpc, w); err != nil {
				return err
			}
		}
		if passes {
			if w.passage, err = openGroup(ctx, m.api, m.in, vpc, w); err != nil {
				return err
			}
		}
		m.wards[vpc] = w
	}
	return nil
}

// through reports whether an interface goes through the passage to its end: into quarantine, from elsewhere.
func through(from isolation, end port) bool {
	start, _ := from.port(end.ID)
	return end.in(quarantine) && !start.in(quarantine) && !start.in(passage)
}

func (m *mover) toPassage(ctx context.Context, from, to isolation) (passed bool, err error) {
	for _, end := range to.Interfaces {
		if !through(from, end) {
			continue
		}
		if err := regroup(ctx, m.api, end.ID, []string{m.wards[end.VPC].passage}); err != nil {
			return passed, newborn(err)
		}
		passed = true
	}
	return passed, nil
}

func (m *mover) toEnd(ctx context.Context, from, to isolation) error {
	for _, end := range to.Interfaces {
		if start, ok := from.port(end.ID); ok && slices.Equal(start.Groups, end.Groups) {
			continue
		}
		err := regroup(ctx, m.api, end.ID, m.ids(end))
		switch {
		case codeIs(err, "InvalidNetworkInterfaceID.NotFound"): // it is deleted; there is nothing to isolate or to restore
		case err != nil && end.in(quarantine):
			return newborn(err)
		case err != nil:
			return classify(err)
		}
	}
	return nil
}

// ids gives the ids of an interface's groups.
func (m *mover) ids(p port) []string {
	ids := slices.Clone(p.Groups)
	if at := slices.Index(ids, quarantine); at >= 0 {
		ids[at] = m.wards[p.VPC].quarantine
	}
	return ids
}

// differences compares two states by their encoding.
func differences(was, is any) []action.Difference {
	before, err := json.Marshal(was)
	if err != nil {
		return []action.Difference{{Path: "state", Was: err.Error()}}
	}
	after, err := json.Marshal(is)
	if err != nil {
		return []action.Difference{{Path: "state", Is: err.Error()}}
	}
	return action.Differences(before, after)
}
