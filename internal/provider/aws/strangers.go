package aws

import (
	"fmt"
	"slices"
	"strings"

	"github.com/riposte-sec/riposte/internal/action"
	"github.com/riposte-sec/riposte/internal/fault"
	"github.com/riposte-sec/riposte/internal/guardrail"
	"github.com/riposte-sec/riposte/internal/provider/aws/policydoc"
)

// strangers tells whom a policy lets in that shouldn't be let in: everybody and, unless everybody alone is
// meant, principals of other accounts.
type strangers struct {
	account string   // whose resource it is
	kept    []string // accounts that are no strangers
	own     []string // patterns of Riposte's own principals
	public  bool     // everybody alone is meant
}

// exceptParam names the accounts that an action leaves in.
func exceptParam() action.Param {
	return action.Param{
		Name: "keep_accounts", Type: action.Strings, Doc: "ids of other accounts whose principals stay, such as a partner's or the organization's own",
	}
}

// strangers are those of the account of a place, apart from accounts that the parameters keep. Riposte's home
// account is never a stranger.
func (c *Cloud) strangers(in action.Input) (strangers, error) {
	who := strangers{account: c.here(in.Place).Account, kept: in.Params.Strings("keep_accounts"), own: c.Own()}
	for _, account := range who.kept {
		if !IsAccount(account) {
			return who, fault.New(fault.Invalid, "keep_accounts: %q is no account: its id has 12 digits", shorten(account))
		}
	}
	who.kept = append(slices.Clone(who.kept), c.self.Account)
	return who, nil
}

// unwanted reports whether a principal that a statement allows is a stranger.
func (w strangers) unwanted(s policydoc.Statement, p policydoc.Principal) bool {
	switch {
	case p.Everybody() && !s.Narrowed():
		return true
	case w.public || p.Type == "Service":
		return false
	case p.Everybody():
		return slices.ContainsFunc(s.Accounts(), w.foreign)
	case slices.ContainsFunc(w.own, func(pattern string) bool { return guardrail.Glob(pattern, p.Value) }):
		return false
	}
	return w.foreign(policydoc.AccountOf(p.Value))
}

// foreign reports whether an account is another one. What AWS writes in place of an account for its own, such as
// cloudfront, is none.
func (w strangers) foreign(account string) bool {
	if !IsAccount(account) && !strings.ContainsAny(account, "*?") {
		return false
	}
	return account != w.account && !slices.Contains(w.kept, account)
}

// evicted says in words who was taken out of a policy, and what stays though it isn't the account's own.
func (w strangers) evicted(document policydoc.Document, gone []policydoc.Stripped) []string {
	var out, open []string
	for _, one := range gone {
		out = append(out, fmt.Sprintf("%s (statement %s)", shorten(one.Principal.String()), shorten(one.Statement)))
	}
	for _, s := range document.Statements() {
		for _, p := range s.Principals {
			switch {
			case s.Effect != policydoc.Allow || w.unwanted(s, p):
			case p.Everybody():
				open = append(open, "everybody, within the conditions of "+namesOf(s))
			case p.Type == "CanonicalUser" || p.Type == "Federated" && policydoc.AccountOf(p.Value) == "":
				open = append(open, shorten(p.Value)+", whose account isn't known")
			}
		}
	}
	var sentences []string
	if len(out) > 0 {
		sentences = append(sentences, "these lose access: "+some(out))
	}
	if len(open) > 0 {
		sentences = append(sentences, "these stay, look at them: "+some(open))
	}
	return sentences
}

func namesOf(s policydoc.Statement) string {
	if s.Sid == "" {
		return "a statement without a Sid"
	}
	return "statement " + shorten(s.Sid)
}
