package aws

// ParsePolicies lets a test read policies without files.
var ParsePolicies = parsePolicies
