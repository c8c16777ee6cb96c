package awslog

import (
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/entity"
)

// most is how many entities one record may give; what names more is hardly about any of them.
const most = 256

// gather collects the entities of one record.
type gather struct {
	at   place
	list []entity.Entity
}

// add takes an entity, unless it is there in the same part already. The first one of a thing stays; it
// learns its ARN from later ones.
func (g *gather) add(e entity.Entity) {
	if e.ID == "" || len(g.list) >= most {
		return
	}
	same := func(known entity.Entity) bool {
		return known.Kind == e.Kind && known.ID == e.ID && known.Part == e.Part
	}
	if i := slices.IndexFunc(g.list, same); i >= 0 {
		if g.list[i].ARN == "" {
			g.list[i].ARN = e.ARN
		}
		return
	}
	g.list = append(g.list, e)
}

// name adds what is named by an id, if it is one of the kind.
func (g *gather) name(kind entity.Kind, part entity.Part, id, from string) {
	if e, ok := named(kind, id, g.at); ok {
		e.Part, e.From = part, from
		g.add(e)
	}
}

// arn adds what an ARN names.
func (g *gather) arn(part entity.Part, text, from string) {
	if e, ok := byARN(text); ok {
		e.Part, e.From = part, from
		g.add(e)
	}
}

// address adds where a call came from: an IP address, or the name of a service, which nobody may block.
func (g *gather) address(text, from string) {
	if e, ok := named(entity.IP, text, place{}); ok {
		e.Part, e.From = entity.Origin, from
		g.add(e)
		return
	}
	if strings.HasSuffix(text, ".amazonaws.com") || strings.HasSuffix(text, ".aws.internal") {
		g.add(entity.Entity{Kind: entity.UserAgent, ID: text, Part: entity.Context, Provider: provider, From: from})
	}
}

// lookup adds what the table says to take from a record.
func (g *gather) lookup(record value, list []target) {
	for _, t := range list {
		record.each(t.path, func(v value) {
			id := v.text()
			from := t.from
			switch {
			case t.tail != nil:
				tail := record.str(t.tail...)
				if id == "" || tail == "" || tail == hidden {
					return
				}
				g.add(entity.Entity{
					Kind: t.kind, ID: id + "/" + tail, Part: t.part, Provider: provider, Account: g.at.account,
					ARN: "arn:" + partition(g.at.region) + ":s3:::" + id + "/" + tail, From: from, Derived: true,
				})
			case t.build != "" && !strings.HasPrefix(id, "arn:"):
				g.build(t, id)
			default:
				g.name(t.kind, t.part, id, from)
			}
		})
	}
}

// build adds a resource by an ARN made from its name.
func (g *gather) build(t target, name string) {
	if name == "" || name == hidden || g.at.account == "" {
		return
	}
	service, prefix, _ := strings.Cut(t.build, ":")
	text := "arn:" + partition(g.at.region) + ":" + service + ":" + g.at.region + ":" + g.at.account + ":" + prefix + name
	g.add(entity.Entity{
		Kind: t.kind, ID: text, Part: t.part, Provider: provider, Account: g.at.account, Region: g.at.region,
		ARN: text, From: t.from, Derived: true,
	})
}

// targeted reports whether a target was found.
func (g *gather) targeted() bool {
	return slices.ContainsFunc(g.list, func(e entity.Entity) bool { return e.Part == entity.Target })
}
