package ticket

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

const (
	// ownLabel is on every issue of ours, so that we find it among all others.
	ownLabel = "riposte"
	// pageSize and pages bound how many issues of ours are looked through, the newest first.
	pageSize, pages = 30, 5
	// commentPage is how many comments a page has.
	commentPage = 50
)

// gitHub is a repository at GitHub, by its REST API.
type gitHub struct {
	desk
	repository string // /repos/owner/name
	labels     []string
}

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,39}/[A-Za-z0-9_.-]{1,100}$`)
	issueForm      = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
)

func newGitHub(c System, d desk) (system, error) {
	if !repositoryForm.MatchString(c.Repository) || strings.HasSuffix(c.Repository, "/.") || strings.HasSuffix(c.Repository, "/..") {
		return system{}, fault.New(fault.Invalid, "repository: %.50q is no repository such as owner/name", c.Repository)
	}
	if c.User != "" {
		return system{}, fault.New(fault.Invalid, "user: GitHub takes a token alone")
	}
	if len(c.Fields) > 0 {
		return system{}, fault.New(fault.Invalid, "fields: GitHub's issues have none")
	}
	d.header.Set("Accept", "application/vnd.github+json")
	d.header.Set("X-Github-Api-Version", "2022-11-28")
	g := gitHub{desk: d, repository: "/repos/" + c.Repository, labels: append([]string{ownLabel}, c.Labels...)}
	return system{tracker: g, commenter: g, longest: 256, keys: issueForm}, nil
}

// gitHubIssue is what we read of an issue.
type gitHubIssue struct {
	Number   int64         `json:"number"`
	URL      string        `json:"html_url"`
	State    string        `json:"state"`
	Reason   string        `json:"state_reason"`
	Body     string        `json:"body"`
	Comments int           `json:"comments"`
	Labels   []gitHubLabel `json:"labels"`
}

type gitHubLabel struct {
	Name string `json:"name"`
}

func (g gitHub) opened(i gitHubIssue) (opened, error) {
	if i.Number <= 0 {
		return opened{}, fault.New(fault.Transient, "%s: an answer without an issue's number", g.name)
	}
	o := opened{key: strconv.FormatInt(i.Number, 10), url: line(i.URL, longestState), state: i.State, closed: i.State == "closed"}
	if o.closed {
		o.resolution = i.Reason
	}
	return o, nil
}

// find looks for the marker in the texts of our issues. GitHub's search lags behind, the list doesn't.
func (g gitHub) find(ctx context.Context, marker string) (opened, error) {
	for page := 1; page <= pages; page++ {
		var list []gitHubIssue
		query := url.Values{
			"labels": {ownLabel}, "state": {"all"}, "sort": {"created"}, "direction": {"desc"},
			"per_page": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)},
		}
		if err := g.ask(ctx, http.MethodGet, g.repository+"/issues?"+query.Encode(), nil, &list); err != nil {
			return opened{}, invalid(err)
		}
		for _, issue := range list {
			if strings.Contains(issue.Body, marker) {
				return g.opened(issue)
			}
		}
		if len(list) < pageSize {
			break
		}
	}
	return opened{}, fault.New(fault.NotFound, "%s has no issue %s", g.name, marker)
}

func (g gitHub) open(ctx context.Context, _ string, d draft) (opened, error) {
	var made gitHubIssue
	err := g.ask(ctx, http.MethodPost, g.repository+"/issues", map[string]any{
		"title": d.Title, "body": fenced(d.Text) + "\n\n" + d.About, "labels": g.labels,
	}, &made)
	if err != nil {
		return opened{}, err
	}
	o, err := g.opened(made)
	if !slices.Contains(made.Labels, gitHubLabel{ownLabel}) {
		o.note = "GitHub did not put the label " + ownLabel + " on the issue: the token may not label there. Tried again, the step would open another"
	}
	return o, err
}

func (g gitHub) issue(ctx context.Context, key string) (gitHubIssue, error) {
	var issue gitHubIssue
	err := g.ask(ctx, http.MethodGet, g.repository+"/issues/"+url.PathEscape(key), nil, &issue)
	return issue, err
}

func (g gitHub) read(ctx context.Context, key string) (opened, error) {
	issue, err := g.issue(ctx, key)
	if err != nil {
		return opened{}, err
	}
	return g.opened(issue)
}

// said looks for the marker among the latest comments. GitHub lists them oldest first, so it is the last pages that
// have them.
func (g gitHub) said(ctx context.Context, key, marker string) (string, error) {
	issue, err := g.issue(ctx, key)
	if err != nil {
		return "", invalid(err)
	}
	last := max(1, (issue.Comments+commentPage-1)/commentPage)
	for page := last; page > 0 && page > last-2; page-- {
		var list []struct {
			ID   int64  `json:"id"`
			Body string `json:"body"`
		}
		path := fmt.Sprintf("%s/issues/%s/comments?per_page=%d&page=%d", g.repository, url.PathEscape(key), commentPage, page)
		if err := g.ask(ctx, http.MethodGet, path, nil, &list); err != nil {
			return "", invalid(err)
		}
		for _, c := range list {
			if strings.Contains(c.Body, marker) {
				return strconv.FormatInt(c.ID, 10), nil
			}
		}
	}
	return "", fault.New(fault.NotFound, "%s: nobody said %s on %s", g.name, marker, key)
}

func (g gitHub) say(ctx context.Context, key, text string) (string, error) {
	var made struct {
		ID int64 `json:"id"`
	}
	err := g.ask(ctx, http.MethodPost, g.repository+"/issues/"+url.PathEscape(key)+"/comments", map[string]string{"body": fenced(text)}, &made)
	return strconv.FormatInt(made.ID, 10), err
}

// fenced is a text as Markdown that shows it as it is: a code block whose fence is longer than any within.
func fenced(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + "text\n" + text + "\n" + fence
}
