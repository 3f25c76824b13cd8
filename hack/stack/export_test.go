package stack

// SortPolicies is for tests.
var SortPolicies = sortPolicies
