package ticket

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/riposte-sec/riposte/internal/fault"
)

// jira is a project of Jira Cloud, by its REST API version 3.
type jira struct {
	desk
	project, kind string
	labels        []string
	fields        map[string]any
}

var (
	projectForm  = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,20}$`)
	issueKeyForm = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,20}-[1-9][0-9]{0,9}$`)
)

func newJira(c System, d desk) (system, error) {
	if !projectForm.MatchString(c.Project) {
		return system{}, fault.New(fault.Invalid, "project: %.30q is no project's key such as SEC", c.Project)
	}
	for _, label := range c.Labels {
		if label == "" || strings.ContainsAny(label, " \t\r\n") {
			return system{}, fault.New(fault.Invalid, "labels: %.50q has a space in it, which Jira's labels can't have", label)
		}
	}
	j := jira{desk: d, project: c.Project, kind: cmp.Or(c.Type, "Task"), labels: c.Labels, fields: c.Fields}
	return system{tracker: j, commenter: j, longest: 255, keys: issueKeyForm}, nil
}

// jiraIssue is what we read of an issue.
type jiraIssue struct {
	Key    string `json:"key"`
	Fields struct {
		Status struct {
			Name     string `json:"name"`
			Category struct {
				Key string `json:"key"` // new, indeterminate or done
			} `json:"statusCategory"`
		} `json:"status"`
		Resolution struct {
			Name string `json:"name"`
		} `json:"resolution"`
	} `json:"fields"`
}

func (j jira) opened(issue jiraIssue) (opened, error) {
	if !issueKeyForm.MatchString(issue.Key) {
		return opened{}, fault.New(fault.Transient, "%s: an answer without an issue's key", j.name)
	}
	return opened{
		key: issue.Key, url: j.url + "/browse/" + issue.Key, state: issue.Fields.Status.Name, resolution: issue.Fields.Resolution.Name,
		closed: issue.Fields.Status.Category.Key == "done",
	}, nil
}

// find searches for the marker among labels.
func (j jira) find(ctx context.Context, marker string) (opened, error) {
	var found struct {
		Issues []jiraIssue `json:"issues"`
	}
	err := j.ask(ctx, http.MethodPost, "/rest/api/3/search/jql", map[string]any{
		"jql": `project = "` + j.project + `" AND labels = "` + marker + `" ORDER BY created ASC`, "maxResults": 1,
		"fields": []string{"status", "resolution"},
	}, &found)
	if err != nil {
		return opened{}, invalid(err)
	}
	if len(found.Issues) == 0 {
		return opened{}, fault.New(fault.NotFound, "%s has no issue %s", j.name, marker)
	}
	return j.opened(found.Issues[0])
}

func (j jira) open(ctx context.Context, marker string, d draft) (opened, error) {
	fields := maps.Clone(j.fields)
	if fields == nil {
		fields = map[string]any{}
	}
	fields["project"] = map[string]string{"key": j.project}
	fields["issuetype"] = map[string]string{"name": j.kind}
	fields["summary"] = d.Title
	fields["description"] = document(d.Text + "\n\n" + d.About)
	fields["labels"] = append(append([]string{}, j.labels...), marker)
	var made jiraIssue
	if err := j.ask(ctx, http.MethodPost, "/rest/api/3/issue", map[string]any{"fields": fields}, &made); err != nil {
		return opened{}, err
	}
	return j.opened(made) // its state isn't told
}

func (j jira) read(ctx context.Context, key string) (opened, error) {
	var issue jiraIssue
	if err := j.ask(ctx, http.MethodGet, "/rest/api/3/issue/"+url.PathEscape(key)+"?fields=status,resolution", nil, &issue); err != nil {
		return opened{}, err
	}
	return j.opened(issue)
}

// said looks for the marker among the latest comments.
func (j jira) said(ctx context.Context, key, marker string) (string, error) {
	var list struct {
		Comments []struct {
			ID   string          `json:"id"`
			Body json.RawMessage `json:"body"`
		} `json:"comments"`
	}
	err := j.ask(ctx, http.MethodGet, "/rest/api/3/issue/"+url.PathEscape(key)+"/comment?orderBy=-created&maxResults=50", nil, &list)
	if err != nil {
		return "", invalid(err)
	}
	for _, c := range list.Comments {
		if strings.Contains(string(c.Body), marker) {
			return c.ID, nil
		}
	}
	return "", fault.New(fault.NotFound, "%s: nobody said %s on %s", j.name, marker, key)
}

func (j jira) say(ctx context.Context, key, text string) (string, error) {
	var made struct {
		ID string `json:"id"`
	}
	err := j.ask(ctx, http.MethodPost, "/rest/api/3/issue/"+url.PathEscape(key)+"/comment", map[string]any{"body": document(text)}, &made)
	return made.ID, err
}

// document is a text in the Atlassian Document Format, a paragraph a line: nothing in a text node is markup.
func document(text string) map[string]any {
	paragraphs := []map[string]any{}
	for line := range strings.SplitSeq(text, "\n") {
		paragraph := map[string]any{"type": "paragraph"}
		if line != "" { // an empty text node isn't allowed
			paragraph["content"] = []map[string]any{{"type": "text", "text": line}}
		}
		paragraphs = append(paragraphs, paragraph)
	}
	return map[string]any{"type": "doc", "version": 1, "content": paragraphs}
}
