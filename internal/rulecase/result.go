package rulecase

import (
	"errors"
	"strconv"
	"strings"

	"github.com/riposte-sec/riposte/internal/document"
	"github.com/riposte-sec/riposte/sigma"
)

// Result is what came of one test, or one thing wrong with rules and their files.
type Result struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`    // 1-based; 0 where it concerns the whole file
	Case    string `json:"case,omitempty"`    // the test's name; "" where it is no test
	Rule    string `json:"rule,omitempty"`    // the title of the rule or correlation
	Problem string `json:"problem,omitempty"` // "" where all is as it should be
}

// Passed reports whether all is as it should be.
func (r Result) Passed() bool { return r.Problem == "" }

// String names file, line, test and problem.
func (r Result) String() string {
	place := r.File
	if r.Line > 0 {
		place += ":" + strconv.Itoa(r.Line)
	}
	if r.Case != "" {
		place += ": " + strconv.Quote(r.Case)
	}
	if r.Passed() {
		return place
	}
	return place + ": " + r.Problem
}

// Report is what came of all tests of a content.
type Report struct {
	Results  []Result // one for each test, in the order of the tests
	Untested []Result // rules and correlations that no test shows to match, or not to match
}

// Failed gives the results of the tests that failed.
func (r Report) Failed() []Result {
	var failed []Result
	for _, one := range r.Results {
		if !one.Passed() {
			failed = append(failed, one)
		}
	}
	return failed
}

// mistakesOf takes an error of a file's reader apart into the mistakes that it joins.
func mistakesOf(file string, err error) []Result {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []Result
		for _, one := range joined.Unwrap() {
			all = append(all, mistakesOf(file, one)...)
		}
		return all
	}
	if refused, ok := err.(*sigma.Error); ok { //nolint:errorlint // the tree is walked here, level by level
		return []Result{{File: refused.File, Line: refused.Line, Problem: withKey(refused.Key, refused.Problem)}}
	}
	if wrong, ok := err.(*document.Error); ok { //nolint:errorlint // as above
		problem := withKey(wrong.Key, wrong.Reason)
		if wrong.Hint != "" {
			problem += "; did you mean " + strconv.Quote(wrong.Hint) + "?"
		}
		return []Result{{File: wrong.File, Line: wrong.Line, Problem: problem}}
	}
	if below := errors.Unwrap(err); below != nil {
		return mistakesOf(file, below)
	}
	return []Result{{File: file, Problem: strings.TrimPrefix(err.Error(), file+": ")}}
}

func withKey(key, problem string) string {
	if key == "" {
		return problem
	}
	return key + ": " + problem
}
