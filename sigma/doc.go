// Package sigma reads Sigma 2.1 rules, correlations and filters, matches rules against events, and correlates
// the matches in event time.
//
// # Design
//
// This is the plain interpreter: a rule is compiled once, at load, into selections (an OR of groups, each an
// AND of items) and a condition over them; an event is a JSON tree; matching walks both. Nothing can go wrong
// at match time. What can't be compiled is refused at load, by file, line, key and reason, so that no rule
// is silently dead.
//
// Where the specification is silent:
//
//   - A field is looked up as a literal key first, then as a dotted path; both at each level, so that
//     labels.k8s.io/name finds the key k8s.io/name within labels.
//   - A list matches when any of its members does, also where a path leads through lists of objects.
//   - An object matches on its compact JSON text: members as written, no space, only the escapes JSON needs.
//   - null means that the field is absent or JSON null. exists tells only if it is present, null included.
//   - Strings compare case-folded (Unicode simple folding) unless cased; numbers, true and false match as the
//     text that they are written with, and a number in a rule matches a JSON number of the same value.
//   - A number that a rule writes with leading zeros is text.
//   - A keyword is looked for in each key and each scalar value of the event, by itself.
//   - windash makes each of the five dash characters of a value stand for any of them.
//   - neq is the negation of the item, and so it holds where the field is absent.
//   - all asks for each value of the rule. Of the forms that base64offset, or windash with an encoding, gives one
//     value, any will do.
//   - Regular expressions are Go's (RE2): linear in time, without look-around or back references. They match
//     anywhere in a value. A rule that needs more is refused.
//   - The time modifiers read a date as it is written, without converting zones; week is the ISO week.
//   - utf16le and its relatives without base64 give text of one character a byte.
//
// # Members of lists
//
// Base Sigma can't say that two conditions hold for the same member of a list. The modifier element can, which
// other tools refuse as unknown, so that it changes the meaning of no rule of theirs:
//
//	requestParameters.ipPermissions.items|element:
//	  toPort: 22
//	  ipRanges.items|element:
//	    cidrIp|endswith: /0
//	    description: null
//
// The value is a mapping, or a list of them of which one will do, each with all: one member must fulfil all of its
// items. Their fields begin at the member; an item without a field is about the member's own keys and scalars,
// or about the member where that is a scalar. An object, or a scalar, where a list could be is a list of one;
// lists in lists are one list; null is no member. fieldref stays within the member. With neq no member fulfils
// the mapping. Elements may be nested to a depth of 8. A [Match] names the member: items[0].toPort.
//
// # Collections
//
// [ParseCollection] reads files of any kind of document, [Collection.Link] resolves what they say of each other.
//
// A [Filter] is added to its rules by and, as other tools do. A condition such as selection, which would keep back
// whatever the filter doesn't speak of, is refused: not selection was meant, or a rule would be silently dead.
// Of our own are the keys owner, reason and expires, a time in RFC 3339 or a date, which ends with its day in
// UTC. Link takes the time to judge by, so that matching stays pure: link again at [Linked.NextExpiry].
// [Rule.HiddenBy] tells which filters keep a match back.
//
// Placeholders have values by [Options]; [LoadLookups] reads them from files. The values of one that stands alone
// are looked up as a set, or as ranges of addresses with cidr, where there are many. They change by reading rules
// anew and using the new ones from then on.
//
// # Correlations
//
// What a rule's match means to the correlations that refer to it is made by [Linked.Observe]; [Correlation.Judge]
// is a pure function of observations, for those who keep them in a database, and a [Correlator] keeps them in
// memory. Where the specification is silent:
//
//   - A window ends with each observation, and reaches back for the timespan, its beginning excluded. Windows that
//     end in the same multiple of the timespan make one alert, of which there is thus at most one for a group
//     and a timespan.
//   - A match without a value for each field of group-by isn't observed. A field that is a list has the match in
//     several groups. Values are told apart by their text, case included.
//   - An event that several rules match counts once for event_count. A list counts as each of its values.
//   - value_sum that must reach something leaves numbers below zero out.
//   - value_percentile needs the key percentile, and is the least value that so many in a hundred don't exceed;
//     value_median is the mean of both in the middle.
//   - temporal may have an expression over rules as its condition. not asks that the rule isn't observed within
//     the timespan on either side of the window's end. At least one rule must be there.
//   - temporal_ordered takes observations of the same time in any order. Of an expression, those rules that must
//     match follow each other as in rules.
//   - A correlation is seen by those that refer to it at each end of a window at which it holds, with its group-by
//     as fields; event_count counts its alerts, each once.
//   - What correlations refer to gives no alerts of its own, unless one of them has generate: true. See
//     [Rule.Quiet].
//
// # Speed
//
// A [Set] routes by log source. Keyword rules fire across sources otherwise. Within a source it evaluates only
// the rules of which a necessary condition holds: a set of field and literal pairs, one of which every
// matching event must have. It is drawn from the rule itself: an AND offers the best of its parts, an OR the
// union, a NOT nothing.
//
// An [Engine] finds the same an order of magnitude faster, from raw JSON: it checks the text in one pass, which
// notes only values that rules ask for, and decodes only those that need it. What it can't compile it leaves to
// this interpreter, which remains the oracle in its tests.
//
// Events are written by attackers. Their depth and the number of their values are bounded, large objects are
// indexed, wildcards match without backtracking over earlier stars, values reported in a [Match] are cut.
// fieldref with contains, startswith or endswith gives up after 64 MiB of comparisons in one event, and then
// doesn't match.
// Rules, sets and events are immutable once made, and safe for concurrent use.
package sigma
