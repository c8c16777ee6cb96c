package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/riposte-sec/riposte/internal/correlate"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/sigma"
)

// detections are rules, correlations and filters as files hold them, with what only they know.
type detections struct {
	sigma.Collection
	lists string   // digest of the lists that placeholders stand for
	lost  []string // shipped correlations that are off because of what they refer to
}

// loadDetections reads rules, correlations and filters.
func loadDetections(c ContentConfig, off *disabled, now time.Time) (detections, error) {
	values, err := loadLookups(c.Lookups)
	if err != nil {
		return detections{}, err
	}
	files, err := gather(c, "rules", c.Rules)
	if err != nil {
		return detections{}, err
	}
	var own, shipped sigma.Collection
	var errs []error
	for _, file := range files {
		read, err := sigma.ParseCollection(file.name, file.text, sigma.Options{Placeholders: values})
		errs = append(errs, fault.Wrap(fault.Invalid, err))
		if file.shipped {
			shipped.Add(read)
		} else {
			own.Add(read)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return detections{}, err
	}
	all, lost := merged(own, shipped, off)
	for _, f := range all.Filters {
		errs = append(errs, owned(f, now))
	}
	for _, c := range all.Correlations {
		errs = append(errs, countable(c))
	}
	return detections{Collection: all, lists: digestOf(values), lost: lost}, errors.Join(errs...)
}

// inForce puts into a content what is in force at a time.
func (d *detections) inForce(c *Content, now time.Time) error {
	linked, err := d.Link(now)
	if err != nil {
		return fault.Wrap(fault.Invalid, err)
	}
	c.Detector, err = detect.New(linked)
	c.Filters, c.Expired, c.Until = linked.Filters, linked.Expired, linked.NextExpiry
	return err
}

// digestOf tells lists apart by what is in them.
func digestOf(lists map[string][]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		fmt.Fprintf(h, "%q %q\n", name, lists[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// merged puts one's own before what is shipped, which is left out where one's own has its id or name, and
// leaves out what is off. A shipped correlation that refers to what was left out is left out with it: those
// are listed.
func merged(own, shipped sigma.Collection, off *disabled) (all sigma.Collection, lost []string) {
	ids, names := map[string]bool{}, map[string]bool{}
	for _, h := range headers(own) {
		ids[h.ID], names[detect.Name(h)] = true, true
	}
	delete(ids, "") // to have none is no likeness
	delete(names, "")
	on := func(h *sigma.Header) bool { return !off.has(h.ID, detect.Name(h)) }
	fresh := func(h *sigma.Header) bool { return !ids[h.ID] && !names[detect.Name(h)] && on(h) }
	all = chosen(own, on)
	all.Add(chosen(shipped, fresh))
	ours := map[*sigma.Correlation]bool{}
	for _, c := range own.Correlations {
		ours[c] = true
	}
	for dropped := true; dropped; {
		there := map[string]bool{}
		for _, h := range headers(all) {
			there[h.ID], there[h.Name] = true, true
		}
		before := len(all.Correlations)
		all.Correlations = slices.DeleteFunc(all.Correlations, func(c *sigma.Correlation) bool {
			missing := slices.IndexFunc(c.Rules, func(name string) bool { return !there[name] })
			if ours[c] || missing < 0 {
				return false // a mistake of one's own is told when it is linked
			}
			lost = append(lost, detect.Name(&c.Header)+" needs the rule "+c.Rules[missing])
			return true
		})
		dropped = len(all.Correlations) < before
	}
	return all, lost
}

// chosen is a part of a collection.
func chosen(from sigma.Collection, in func(*sigma.Header) bool) sigma.Collection {
	var some sigma.Collection
	for _, r := range from.Rules {
		if in(&r.Header) {
			some.Rules = append(some.Rules, r)
		}
	}
	for _, c := range from.Correlations {
		if in(&c.Header) {
			some.Correlations = append(some.Correlations, c)
		}
	}
	for _, f := range from.Filters {
		if in(&f.Header) {
			some.Filters = append(some.Filters, f)
		}
	}
	return some
}

func headers(c sigma.Collection) []*sigma.Header {
	var all []*sigma.Header
	for _, r := range c.Rules {
		all = append(all, &r.Header)
	}
	for _, one := range c.Correlations {
		all = append(all, &one.Header)
	}
	for _, f := range c.Filters {
		all = append(all, &f.Header)
	}
	return all
}

// owned refuses a filter of which nobody knows whose it is, why, or until when.
func owned(f *sigma.Filter, now time.Time) error {
	switch {
	case f.Owner == "" || f.Reason == "":
		return fault.New(fault.Invalid, "%s:%d: a filter says whose it is, by owner, and why what it hides is expected, by reason", f.File, f.Line)
	case f.Expires.IsZero() || f.Expires.After(now.Add(longestSuppression)):
		return fault.New(fault.Invalid, "%s:%d: expires: a filter ends, at the latest in a year", f.File, f.Line)
	}
	return nil
}

// countable refuses a correlation that asks for more than is kept of a group: it could never hold.
func countable(c *sigma.Correlation) error {
	if least := c.Least(); least > correlate.Most {
		return fault.New(fault.Invalid, "%s:%d: correlation.condition: it needs %d matches; at most %d of a group are kept: count what is rarer, or group by more",
			c.File, c.Line, least, correlate.Most)
	}
	return nil
}

// loadLookups reads the lists that placeholders stand for. A list is in one folder alone.
func loadLookups(folders []string) (map[string][]string, error) {
	all := map[string][]string{}
	from := map[string]string{}
	var errs []error
	for _, folder := range folders {
		lists, err := sigma.LoadLookups(os.DirFS(folder), ".")
		if err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, fmt.Errorf("content.lookups: %s: %w", folder, err)))
		}
		for _, name := range slices.Sorted(maps.Keys(lists)) {
			if other, taken := from[name]; taken {
				errs = append(errs, fault.New(fault.Invalid, "content.lookups: the list %s is in %s, and in %s, too", name, filepath.Clean(other), filepath.Clean(folder)))
			}
			all[name], from[name] = lists[name], folder
		}
	}
	return all, errors.Join(errs...)
}
