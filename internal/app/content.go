package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/riposte-sec/riposte/content"
	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/api"
	"github.com/riposte-sec/riposte/internal/auth"
	"github.com/riposte-sec/riposte/internal/detect"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/oncall"
	"github.com/riposte-sec/riposte/internal/playbook"
	"github.com/riposte-sec/riposte/internal/rulecase"
	"github.com/riposte-sec/riposte/internal/run"
	"github.com/riposte-sec/riposte/sigma"
)

// largestFile is the size in bytes of the largest rule or playbook.
const largestFile = 1 << 20

// Content is what an installation detects by and responds with.
type Content struct {
	Detector   *detect.Detector
	Playbooks  []*playbook.Playbook
	detections detections // as the files hold them
	// Filters are the central exclusions in force, Expired those that have ended.
	Filters, Expired []*sigma.Filter
	// Until is when the next filter ends and the content must be loaded again; zero for never.
	Until time.Time
	// Off lists shipped playbooks that need actions which this installation doesn't have, and shipped correlations
	// that need rules which are off, and why.
	Off []string
	// Unknown lists what content.disabled names and nothing is called.
	Unknown []string
}

// LoadContent reads and checks the rules and playbooks in force at a time: specs are the actions of this build,
// have those of this installation. All mistakes are reported at once, by file, line and key.
func LoadContent(c ContentConfig, specs, have []action.Spec, now time.Time) (*Content, error) {
	off := &disabled{names: c.Disabled, met: map[string]bool{}}
	loaded := &Content{}
	var errs []error
	var err error
	if loaded.detections, err = loadDetections(c, off, now); err == nil {
		err = loaded.detections.inForce(loaded, now)
	}
	if err != nil {
		errs = append(errs, err)
	}
	loaded.Off = loaded.detections.lost
	books, orphans, err := loadPlaybooks(c, off)
	loaded.Off = append(loaded.Off, orphans...)
	loaded.Unknown = off.unknown()
	if err != nil {
		errs = append(errs, err)
	}
	house := playbook.Installation{Actions: specs, Roles: roles(), Rotations: rotations(specs)}
	for _, book := range books {
		if !book.sure(books) {
			if err := playbook.Check(book.Playbook, house); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		lacking := lacks(book.Playbook, have)
		switch {
		case lacking == "":
			loaded.Playbooks = append(loaded.Playbooks, book.Playbook)
		case book.shipped:
			loaded.Off = append(loaded.Off, book.Name+" needs "+lacking)
		default:
			errs = append(errs, fault.New(fault.Invalid, "%s: it uses %s, which this installation does not have: enable its provider",
				book.File, lacking))
		}
	}
	return loaded, errors.Join(errs...)
}

// roles are the names of those that people may have.
func roles() []string {
	names := make([]string, 0, len(auth.Roles()))
	for _, role := range auth.Roles() {
		names = append(names, string(role))
	}
	return names
}

// lacks names an action that a playbook uses and the installation doesn't have.
func lacks(p *playbook.Playbook, have []action.Spec) string {
	for _, name := range p.Uses() {
		if !slices.ContainsFunc(have, func(spec action.Spec) bool { return spec.Name == name }) {
			return name
		}
	}
	return ""
}

type written struct {
	name    string
	text    []byte
	shipped bool
}

// disabled are the names of what is off. It notes which of them something has.
type disabled struct {
	names []string
	met   map[string]bool
}

func (d *disabled) has(names ...string) bool {
	is := false
	for _, name := range names {
		if slices.Contains(d.names, name) {
			d.met[name], is = true, true
		}
	}
	return is
}

func (d *disabled) unknown() []string {
	return slices.DeleteFunc(slices.Clone(d.names), func(name string) bool { return d.met[name] })
}

type book struct {
	*playbook.Playbook
	shipped bool
}

// loadPlaybooks reads the playbooks and finds those that others call. It tells which of the shipped ones it left
// out because they call what is off.
func loadPlaybooks(c ContentConfig, off *disabled) ([]book, []string, error) {
	files, err := gather(c, "playbooks", c.Playbooks)
	if err != nil {
		return nil, nil, err
	}
	var books []book
	var errs []error
	for _, file := range files {
		parsed, err := playbook.Parse(file.name, file.text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		same := func(other book) bool { return other.Name == parsed.Name }
		at := slices.IndexFunc(books, same)
		switch {
		case off.has(parsed.Name):
		case at < 0:
			books = append(books, book{parsed, file.shipped})
		case books[at].shipped && !file.shipped:
			books[at] = book{parsed, false}
		default:
			errs = append(errs, fault.New(fault.Invalid, "%s: the playbook %s is in %s already", file.name, parsed.Name, books[at].File))
		}
	}
	slices.SortFunc(books, func(a, b book) int { return strings.Compare(a.Name, b.Name) })
	books, orphans := withoutOrphans(books, off)
	linked := make([]*playbook.Playbook, 0, len(books))
	for _, one := range books {
		linked = append(linked, one.Playbook)
	}
	if len(errs) == 0 { // a playbook that can't be read is missed by those that call it
		errs = append(errs, playbook.Link(linked))
	}
	return books, orphans, errors.Join(errs...)
}

// rotations are those that there are: of the action that tells whoever is on call.
func rotations(specs []action.Spec) []string {
	names := []string{}
	for _, spec := range specs {
		for _, p := range spec.Params {
			if spec.Name == oncall.Action && p.Name == "rotation" {
				names = append(names, p.Enum...)
			}
		}
	}
	return names
}

// sure reports whether a playbook needs no check: it is shipped, and so is all that it calls. A test checks those
// against all actions of this build, which takes longer than all else of a start.
func (b book) sure(books []book) bool {
	return b.shipped && !slices.ContainsFunc(books, func(other book) bool { return !other.shipped && b.Calling(other.Playbook) })
}

// withoutOrphans leaves out shipped playbooks that call one which is off, and says why.
func withoutOrphans(books []book, off *disabled) ([]book, []string) {
	var orphans []string
	for {
		at := slices.IndexFunc(books, func(b book) bool { return b.shipped && missing(b, books, off) != "" })
		if at < 0 {
			return books, orphans
		}
		orphans = append(orphans, books[at].Name+" calls "+missing(books[at], books, off)+", which is off")
		off.names = append(off.names, books[at].Name)
		off.met[books[at].Name] = true
		books = slices.Delete(books, at, at+1)
	}
}

// missing names what a playbook calls and is off.
func missing(b book, books []book, off *disabled) string {
	name := ""
	b.Walk(func(step *playbook.Step) {
		has := slices.ContainsFunc(books, func(other book) bool { return other.Name == step.Called })
		if step.Called != "" && !has && slices.Contains(off.names, step.Called) {
			name = step.Called
		}
	})
	return name
}

// gather reads the shipped files of a folder, then those at paths.
func gather(c ContentConfig, folder string, paths []string) ([]written, error) {
	var files []written
	var errs []error
	if c.Shipped {
		shipped, err := walk(content.Files, folder, "shipped:")
		if err != nil {
			return nil, err
		}
		for _, file := range shipped {
			file.shipped = true
			files = append(files, file)
		}
	}
	for _, path := range paths {
		found, err := own(path)
		if err != nil {
			errs = append(errs, fault.Wrap(fault.Invalid, fmt.Errorf("content.%s: %w", folder, err)))
			continue
		}
		files = append(files, found...)
	}
	return files, errors.Join(errs...)
}

func own(path string) ([]written, error) {
	about, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if about.IsDir() {
		return walk(os.DirFS(path), ".", path+"/")
	}
	return walk(os.DirFS(filepath.Dir(path)), filepath.Base(path), filepath.Dir(path)+"/")
}

// walk reads the YAML files below a folder that aren't tests. What is hidden is passed over, such as the
// folder in which a volume of Kubernetes holds every file once more.
func walk(files fs.FS, root, prefix string) ([]written, error) {
	var found []written
	err := fs.WalkDir(files, root, func(path string, entry fs.DirEntry, err error) error {
		hidden := path != root && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err == nil && entry.IsDir() && hidden:
			return fs.SkipDir
		case err != nil || entry.IsDir() || hidden:
			return err
		}
		extension := filepath.Ext(path)
		if extension != ".yaml" && extension != ".yml" || rulecase.IsTest(path) {
			return nil
		}
		if about, err := fs.Stat(files, path); err != nil || about.Size() > largestFile {
			return fmt.Errorf("%s%s: over %d bytes, or unreadable: %w", prefix, path, largestFile, err)
		}
		text, err := fs.ReadFile(files, path)
		found = append(found, written{name: prefix + path, text: text})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s%s: %w", prefix, root, err)
	}
	return found, nil
}

// paths are the files and folders of one's own that content comes from.
func (c ContentConfig) paths() []string { return slices.Concat(c.Rules, c.Playbooks, c.Lookups) }

// at is the same content as it is in force at another time, when filters have ended.
func (c *Content) at(now time.Time) (*Content, error) {
	later := *c
	return &later, later.detections.inForce(&later, now)
}

// Hash identifies the content by all of its rules, filters, lists and playbooks.
func (c *Content) Hash() string {
	parts := []string{"lists " + c.detections.lists}
	for _, rule := range c.Detector.Rules() {
		parts = append(parts, "rule "+rule.Name+" "+rule.Hash)
	}
	for _, p := range c.Playbooks {
		parts = append(parts, "playbook "+p.Name+" "+p.Hash)
	}
	for _, f := range c.Filters {
		parts = append(parts, "filter "+f.Key()+" "+f.Hash)
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// summary is the content as the ledger tells it.
func (c *Content) summary() map[string]any {
	filters := make([]map[string]any, 0, len(c.Filters))
	for _, f := range c.Filters {
		filters = append(filters, map[string]any{"filter": f.Title, "owner": f.Owner, "reason": f.Reason, "expires": f.Expires})
	}
	return map[string]any{"hash": c.Hash(), "rules": len(c.Detector.Rules()), "playbooks": len(c.Playbooks), "filters": filters}
}

// described is the content as the API tells it.
func (c *Content) described(specs []action.Spec, ceiling run.Autonomy) api.Content {
	var told api.Content
	for _, rule := range c.Detector.Rules() {
		told.Rules = append(told.Rules, api.Rule{
			Name: rule.Name, Title: rule.Title, Severity: rule.Severity.String(), Tactics: rule.Tactics, Attack: rule.Attack, File: rule.File,
		})
	}
	for _, p := range c.Playbooks {
		told.Playbooks = append(told.Playbooks, api.Playbook{
			Name: p.Name, Summary: p.Summary, Findings: p.Findings, Autonomy: run.Least(p.Autonomy, ceiling), Limits: p.Limits,
			Steps: len(p.Steps), Hash: p.Hash, File: p.File,
		})
	}
	for _, spec := range specs {
		act := api.Action{Name: spec.Name, Summary: spec.Summary, Effect: string(spec.Effect), Doc: spec.Doc}
		for _, p := range spec.Permissions {
			act.Permissions = append(act.Permissions, p.Name)
		}
		told.Actions = append(told.Actions, act)
	}
	return told
}
